#include "krun_api.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static char message[512];

static void *lookup(void *library, const char *name, const char **error)
{
	void *symbol = dlsym(library, name);

	if (symbol == NULL) {
		snprintf(message, sizeof(message), "the library has no %s (libkrun 1.17 or newer with block and net is needed)",
			 name);
		*error = message;
	}
	return symbol;
}

static void *open_library(const char *path, const char **error)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (library == NULL) {
		snprintf(message, sizeof(message), "%s", dlerror());
		*error = message;
	}
	return library;
}

const struct krun_api *krun_load(const char *path, const char **error)
{
	static struct krun_api api;
	/* ISO C has no conversion from void * to a function pointer; POSIX promises that the representations agree. */
	const struct {
		const char *name;
		void *slot;
	} symbols[] = {
		{ "krun_init_log", &api.init_log },
		{ "krun_create_ctx", &api.create_ctx },
		{ "krun_set_vm_config", &api.set_vm_config },
		{ "krun_set_kernel", &api.set_kernel },
		{ "krun_disable_implicit_console", &api.disable_implicit_console },
		{ "krun_disable_implicit_vsock", &api.disable_implicit_vsock },
		{ "krun_add_virtio_console_multiport", &api.add_virtio_console_multiport },
		{ "krun_add_console_port_tty", &api.add_console_port_tty },
		{ "krun_add_console_port_inout", &api.add_console_port_inout },
		{ "krun_add_disk2", &api.add_disk2 },
		{ "krun_add_net_unixstream", &api.add_net_unixstream },
		{ "krun_add_virtiofs", &api.add_virtiofs },
		{ "krun_start_enter", &api.start_enter },
	};
	void *library = open_library(path, error);

	if (library == NULL)
		return NULL;
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		void *symbol = lookup(library, symbols[i].name, error);

		if (symbol == NULL)
			return NULL;
		memcpy(symbols[i].slot, &symbol, sizeof(symbol));
	}
	return &api;
}

const char *krunfw_kernel(const char *path, size_t *load, size_t *entry, size_t *size, const char **error)
{
	char *(*get_kernel)(size_t *, size_t *, size_t *);
	void *library = open_library(path, error);
	void *symbol = library == NULL ? NULL : lookup(library, "krunfw_get_kernel", error);

	if (symbol == NULL)
		return NULL;
	memcpy(&get_kernel, &symbol, sizeof(symbol));
	return get_kernel(load, entry, size);
}
