/* The harness's tools alone, for tests on the host. */
#include "../src/tools.h"

int main(int argc, char **argv) { return tools_main(argc, argv); }
