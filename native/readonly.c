#define _GNU_SOURCE
#include "readonly.h"

#include <errno.h>

#ifdef __linux__
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/mount.h; Debian 12's C library has neither the call nor these. */
#ifndef __NR_mount_setattr
#define __NR_mount_setattr 442
#endif
enum { ATTR_RDONLY = 1, RECURSIVE = 0x8000 /* AT_RECURSIVE */ };
struct attributes {
	uint64_t set, clear, propagation, userns_fd;
};

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t written;

	if (fd < 0)
		return -1;
	written = write(fd, text, strlen(text));
	close(fd);
	return written == (ssize_t)strlen(text) ? 0 : -1;
}

int own_mounts(void)
{
	uid_t uid = getuid();
	gid_t gid = getgid();
	char map[64];

	if (unshare(CLONE_NEWNS) != 0) {
		if (errno != EPERM || unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
			return -1;
		snprintf(map, sizeof(map), "%u %u 1\n", (unsigned)uid, (unsigned)uid);
		if (write_file("/proc/self/uid_map", map) != 0)
			return -1;
		snprintf(map, sizeof(map), "%u %u 1\n", (unsigned)gid, (unsigned)gid);
		if (write_file("/proc/self/setgroups", "deny") != 0 || write_file("/proc/self/gid_map", map) != 0)
			return -1;
	}
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

int make_read_only(const char *directory)
{
	struct attributes attributes = { .set = ATTR_RDONLY };
	struct statvfs stat;
	unsigned long kept = 0;

	if (mount(directory, directory, NULL, MS_BIND | MS_REC, NULL) != 0)
		return -1;
	if (syscall(__NR_mount_setattr, AT_FDCWD, directory, RECURSIVE, &attributes, sizeof(attributes)) == 0)
		return 0;
	if (errno != ENOSYS)
		return -1;
	/* Before Linux 5.12 only one mount at a time can be changed: bind it again without what is mounted below. */
	if (umount2(directory, MNT_DETACH) != 0 || mount(directory, directory, NULL, MS_BIND, NULL) != 0 ||
	    statvfs(directory, &stat) != 0)
		return -1;
	if (stat.f_flag & ST_NOSUID)
		kept |= MS_NOSUID;
	if (stat.f_flag & ST_NODEV)
		kept |= MS_NODEV;
	if (stat.f_flag & ST_NOEXEC)
		kept |= MS_NOEXEC;
	return mount(NULL, directory, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | kept, NULL);
}

#else

int own_mounts(void)
{
	errno = ENOTSUP;
	return -1;
}

int make_read_only(const char *directory)
{
	(void)directory;
	errno = ENOTSUP;
	return -1;
}
#endif
