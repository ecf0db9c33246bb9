#define _GNU_SOURCE
#include "disk_length.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DISKS_MAX = 32 };

static struct {
	dev_t device;
	ino_t inode;
} disks[DISKS_MAX];
static int count;

int keep_disk_length(const char *path)
{
	struct stat stat_of;

	if (stat(path, &stat_of) != 0)
		return -1;
	if (count == DISKS_MAX) {
		errno = ENOSPC;
		return -1;
	}
	disks[count].device = stat_of.st_dev;
	disks[count].inode = stat_of.st_ino;
	count++;
	return 0;
}

#ifdef __linux__
#include <fcntl.h>
#include <sys/syscall.h>

static int is_disk(const struct stat *stat_of)
{
	for (int i = 0; i < count; i++)
		if (disks[i].device == stat_of->st_dev && disks[i].inode == stat_of->st_ino)
			return 1;
	return 0;
}

static int truncate_unless_disk(int fd, off_t length)
{
	struct stat stat_of;

	if (fstat(fd, &stat_of) == 0 && length < stat_of.st_size && is_disk(&stat_of))
		return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, length, stat_of.st_size - length);
	return (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length)
{
	return truncate_unless_disk(fd, length);
}

int ftruncate64(int fd, off64_t length)
{
	return truncate_unless_disk(fd, length);
}
#endif
