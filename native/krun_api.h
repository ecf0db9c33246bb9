/*
 * The part of libkrun that aegis uses, bound at run time: machines without libkrun still run the QEMU driver, and the
 * library may live anywhere. Prototypes as libkrun 1.17 documents them in include/libkrun.h.
 */
#ifndef AEGIS_KRUN_API_H
#define AEGIS_KRUN_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KRUN_DISK_FORMAT_RAW = 0 };
enum { KRUN_KERNEL_FORMAT_RAW = 0, KRUN_KERNEL_FORMAT_ELF = 1 };
enum { KRUN_LOG_LEVEL_ERROR = 1, KRUN_LOG_STYLE_NEVER = 2, KRUN_LOG_OPTION_NO_ENV = 1 };

struct krun_api {
	int32_t (*init_log)(int fd, uint32_t level, uint32_t style, uint32_t options);
	int32_t (*create_ctx)(void);
	int32_t (*set_vm_config)(uint32_t ctx, uint8_t cpus, uint32_t ram_mib);
	int32_t (*set_kernel)(uint32_t ctx, const char *path, uint32_t format, const char *initramfs, const char *cmdline);
	int32_t (*disable_implicit_console)(uint32_t ctx);
	int32_t (*disable_implicit_vsock)(uint32_t ctx);
	int32_t (*add_virtio_console_multiport)(uint32_t ctx);
	int32_t (*add_console_port_tty)(uint32_t ctx, uint32_t console, const char *name, int fd);
	int32_t (*add_console_port_inout)(uint32_t ctx, uint32_t console, const char *name, int in, int out);
	int32_t (*add_disk2)(uint32_t ctx, const char *id, const char *path, uint32_t format, bool read_only);
	int32_t (*add_net_unixstream)(uint32_t ctx, const char *path, int fd, uint8_t *mac, uint32_t features,
				      uint32_t flags);
	int32_t (*add_virtiofs)(uint32_t ctx, const char *tag, const char *path);
	int32_t (*start_enter)(uint32_t ctx);
};

/* Loads libkrun; NULL with `*error` set (a sentence in static storage) when it, or a function in it, is missing. */
const struct krun_api *krun_load(const char *library, const char **error);

/* The guest kernel inside libkrunfw: its bytes, where to load them, where to enter. NULL with `*error` as above. */
const char *krunfw_kernel(const char *library, size_t *load, size_t *entry, size_t *size, const char **error);

#endif
