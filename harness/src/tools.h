/* What `aegis cp` and `aegis top` run beside the app: the harness again, as /proc/1/exe, so that images need no tar and no shell.
 * Compiles and is tested on the host. */
#ifndef TOOLS_H
#define TOOLS_H

/* pack DIRECTORY NAME: a tar of NAME (. for all) to standard output; unpack DIRECTORY: one from standard input;
 * is-directory PATH; processes MARKER: every process's status, MARKER, every command line. An exit status; complaints go to
 * standard error. */
int tools_main(int argc, char **argv);
#endif
