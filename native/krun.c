/*
 * aegis-krun: becomes a virtual machine by libkrun. krun_start_enter() takes the whole process over and never returns, so
 * each machine is a process of its own. Nothing is taken from argv or the environment but the parent's pid: the
 * configuration arrives on fd 3, a socket, as NUL-terminated `key=value` records (any path fits in) and is answered with a line
 * when libkrun has taken it; the guest's control port is fd 4, its kernel console goes to stdout, libkrun's complaints
 * to stderr.
 *
 *   aegis-krun run PARENT_PID          fd 3: configuration, fd 4: control port
 *   aegis-krun kernel LIBKRUNFW        writes load address, entry address, size (3 x u64 LE) and the kernel to stdout
 */
#include "disk_length.h"
#include "krun_api.h"
#include "lifetime.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#ifdef __APPLE__
#include <util.h>
#else
#include <pty.h>
#endif

enum { CONFIG_FD = 3, CONTROL_FD = 4, CONFIG_MAX = 256 * 1024, CONSOLE_CHUNK = 16 * 1024 };

/* Exit statuses, told apart by src/vmm/krun.ts. */
enum { EXIT_CONFIG = 100, EXIT_LIBRARY = 101, EXIT_KRUN = 102, EXIT_SYSTEM = 103 };

__attribute__((noreturn, format(printf, 2, 3))) static void fail(int status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("aegis-krun: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(status);
}

static void check(const char *what, int32_t result)
{
	if (result < 0)
		fail(EXIT_KRUN, "%s: %s", what, strerror(-result));
}

/* Reads all of `fd`; the caller gets a buffer that ends in a NUL. */
static char *read_config(int fd, size_t *length)
{
	char *buffer = malloc(CONFIG_MAX + 1);
	size_t used = 0;

	if (buffer == NULL)
		fail(EXIT_SYSTEM, "out of memory");
	for (;;) {
		ssize_t n = read(fd, buffer + used, CONFIG_MAX - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			fail(EXIT_CONFIG, "reading the configuration: %s", strerror(errno));
		if (n == 0)
			break;
		used += (size_t)n;
		if (used == CONFIG_MAX)
			fail(EXIT_CONFIG, "the configuration is longer than %d bytes", CONFIG_MAX);
	}
	buffer[used] = '\0';
	*length = used;
	return buffer;
}

static unsigned long parse_number(const char *key, const char *text, unsigned long max)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value == 0 || value > max)
		fail(EXIT_CONFIG, "%s: \"%s\" is not a number from 1 to %lu", key, text, max);
	return value;
}

static void parse_mac(const char *text, uint8_t mac[6])
{
	int used = 0;

	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5],
		   &used) != 6 ||
	    text[used] != '\0')
		fail(EXIT_CONFIG, "mac: \"%s\" is not a hardware address", text);
}

static void *copy_console(void *argument)
{
	int master = *(int *)argument;
	static char chunk[CONSOLE_CHUNK];

	for (;;) {
		ssize_t n = read(master, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return NULL;
		for (ssize_t done = 0; done < n;) {
			ssize_t written = write(STDOUT_FILENO, chunk + done, (size_t)(n - done));

			if (written < 0 && errno == EINTR)
				continue;
			if (written < 0)
				break; /* nobody listens; the guest's console must not block */
			done += written;
		}
	}
}

/*
 * The kernel's console has to be a terminal for libkrun (only such a port is a console port), so it gets one end of a
 * pseudo-terminal; a thread copies what comes out to stdout.
 */
static int open_console(void)
{
	static int master;
	struct termios raw;
	int slave;
	pthread_t thread;

	if (openpty(&master, &slave, NULL, NULL, NULL) != 0)
		fail(EXIT_SYSTEM, "openpty: %s", strerror(errno));
	if (tcgetattr(slave, &raw) != 0)
		fail(EXIT_SYSTEM, "tcgetattr: %s", strerror(errno));
	cfmakeraw(&raw);
	if (tcsetattr(slave, TCSANOW, &raw) != 0)
		fail(EXIT_SYSTEM, "tcsetattr: %s", strerror(errno));
	errno = pthread_create(&thread, NULL, copy_console, &master);
	if (errno != 0)
		fail(EXIT_SYSTEM, "pthread_create: %s", strerror(errno));
	return slave;
}

struct machine {
	const struct krun_api *krun;
	uint32_t context;
	unsigned long cpus, memory_mib;
	unsigned disks;
	const char *kernel, *cmdline, *net;
	uint32_t kernel_format;
	uint8_t mac[6];
};

static void add_disk(struct machine *machine, const char *path, bool read_only)
{
	char id[16];

	snprintf(id, sizeof(id), "vd%c", 'a' + (int)(machine->disks++ % 26));
	if (!read_only && keep_disk_length(path) != 0)
		fail(EXIT_CONFIG, "%s: %s", path, strerror(errno));
	/* Raw and nothing else: any other format can name more files of the host. */
	check(path, machine->krun->add_disk2(machine->context, id, path, KRUN_DISK_FORMAT_RAW, read_only));
}

static void add_share(struct machine *machine, char *value)
{
	char *colon = strchr(value, ':');

	if (colon == NULL)
		fail(EXIT_CONFIG, "share: TAG:PATH expected");
	*colon = '\0';
	check(colon + 1, machine->krun->add_virtiofs(machine->context, value, colon + 1));
}

static void apply(struct machine *machine, const char *key, char *value)
{
	if (strcmp(key, "cpus") == 0)
		machine->cpus = parse_number(key, value, 255);
	else if (strcmp(key, "memory") == 0)
		machine->memory_mib = parse_number(key, value, UINT32_MAX);
	else if (strcmp(key, "kernel") == 0)
		machine->kernel = value;
	else if (strcmp(key, "format") == 0)
		machine->kernel_format = strcmp(value, "raw") == 0 ? KRUN_KERNEL_FORMAT_RAW : KRUN_KERNEL_FORMAT_ELF;
	else if (strcmp(key, "cmdline") == 0)
		machine->cmdline = value;
	else if (strcmp(key, "disk.ro") == 0)
		add_disk(machine, value, true);
	else if (strcmp(key, "disk.rw") == 0)
		add_disk(machine, value, false);
	else if (strcmp(key, "share") == 0)
		add_share(machine, value);
	else if (strcmp(key, "mac") == 0)
		parse_mac(value, machine->mac);
	else if (strcmp(key, "net") == 0)
		machine->net = value;
	else
		fail(EXIT_CONFIG, "unknown key \"%s\"", key);
}

static void run(pid_t parent)
{
	struct machine machine = { .kernel_format = KRUN_KERNEL_FORMAT_ELF };
	const char *error;
	size_t length;
	char *config, *record;
	int32_t result;
	int console;

	if (die_with_parent(parent) != 0)
		fail(EXIT_SYSTEM, "binding to the parent's life: %s", strerror(errno));
	config = read_config(CONFIG_FD, &length);

	record = config;
	if (strncmp(record, "library=", 8) != 0)
		fail(EXIT_CONFIG, "the first record must name the library");
	machine.krun = krun_load(record + 8, &error);
	if (machine.krun == NULL)
		fail(EXIT_LIBRARY, "%s", error);
	check("krun_init_log", machine.krun->init_log(STDERR_FILENO, KRUN_LOG_LEVEL_ERROR, KRUN_LOG_STYLE_NEVER,
						      KRUN_LOG_OPTION_NO_ENV));
	result = machine.krun->create_ctx();
	check("krun_create_ctx", result);
	machine.context = (uint32_t)result;
	check("krun_disable_implicit_console", machine.krun->disable_implicit_console(machine.context));
	check("krun_disable_implicit_vsock", machine.krun->disable_implicit_vsock(machine.context));

	for (record += strlen(record) + 1; record < config + length; ) {
		char *next = record + strlen(record) + 1;
		char *equals = strchr(record, '=');

		if (equals == NULL)
			fail(EXIT_CONFIG, "a record without \"=\"");
		*equals = '\0';
		apply(&machine, record, equals + 1);
		record = next;
	}
	if (machine.cpus == 0 || machine.memory_mib == 0 || machine.kernel == NULL || machine.cmdline == NULL)
		fail(EXIT_CONFIG, "cpus, memory, kernel and cmdline are required");

	check("krun_set_vm_config",
	      machine.krun->set_vm_config(machine.context, (uint8_t)machine.cpus, (uint32_t)machine.memory_mib));
	check("krun_set_kernel", machine.krun->set_kernel(machine.context, machine.kernel, machine.kernel_format, NULL,
							  machine.cmdline));
	if (machine.net != NULL)
		check("krun_add_net_unixstream",
		      machine.krun->add_net_unixstream(machine.context, machine.net, -1, machine.mac, 0, 0));

	/* One device for both ports: the kernel's console as port 0 (hvc0), the control port beside it. */
	console = machine.krun->add_virtio_console_multiport(machine.context);
	check("krun_add_virtio_console_multiport", console);
	check("krun_add_console_port_tty",
	      machine.krun->add_console_port_tty(machine.context, (uint32_t)console, "aegis.console", open_console()));
	check("krun_add_console_port_inout",
	      machine.krun->add_console_port_inout(machine.context, (uint32_t)console, "aegis.control", CONTROL_FD,
						   CONTROL_FD));
	if (write(CONFIG_FD, "configured\n", 11) != 11)
		fail(EXIT_SYSTEM, "answering on the configuration's socket: %s", strerror(errno));
	close(CONFIG_FD);
	result = machine.krun->start_enter(machine.context);
	fail(EXIT_KRUN, "krun_start_enter: %s", strerror(-result));
}

static void write_all(const void *bytes, size_t length)
{
	const char *at = bytes;

	while (length > 0) {
		ssize_t n = write(STDOUT_FILENO, at, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			fail(EXIT_SYSTEM, "writing the kernel: %s", strerror(errno));
		at += n;
		length -= (size_t)n;
	}
}

static void print_kernel(const char *library)
{
	const char *error;
	size_t load = 0, entry = 0, size = 0;
	const char *kernel = krunfw_kernel(library, &load, &entry, &size, &error);
	uint64_t header[3];

	if (kernel == NULL)
		fail(EXIT_LIBRARY, "%s", error);
	header[0] = load;
	header[1] = entry;
	header[2] = size;
	write_all(header, sizeof(header));
	write_all(kernel, size);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "kernel") == 0) {
		print_kernel(argv[2]);
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "run") == 0 && parse_pid(argv[2]) > 0)
		run(parse_pid(argv[2]));
	fail(EXIT_CONFIG, "usage: aegis-krun run PARENT_PID | aegis-krun kernel LIBKRUNFW");
}
