/*
 * Keeps disks as long as they are. libkrun 1.17 answers a discard that reaches a disk's end by truncating the file
 * (its imago, issue 7), and after the next start the filesystem is larger than its disk. Its ftruncate() is therefore ours
 * (Linux; the program's symbols come before the C library's): on a disk that was named here it frees the blocks and keeps
 * the length, which is what a discard means. Other files, as those of shared directories, are truncated as ever.
 */
#ifndef AEGIS_DISK_LENGTH_H
#define AEGIS_DISK_LENGTH_H

/* -1 with errno when `path` can't be looked at, or when there are too many disks (ENOSPC). */
int keep_disk_length(const char *path);

#endif
