/* The proxy alone, for tests on the host: proxy_main bind|steer ADDRESS PORT[/udp]... prints a line per report, until its input ends. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../src/proxy.h"

int main(int argc, char **argv) {
  struct port_spec ports[16];
  uint8_t address[4];
  int reports[2];
  if (argc < 4 || argc > 16 || inet_pton(AF_INET, argv[2], address) != 1 || pipe(reports) < 0) return 2;
  for (int i = 3; i < argc; i++)
    ports[i - 3] = (struct port_spec){.port = (uint16_t)atoi(argv[i]), .udp = strstr(argv[i], "/udp") != NULL};
  pid_t pid = fork();
  if (pid == 0) {
    close(reports[0]);
    proxy_run(address, ports, (size_t)argc - 3, reports[1], strcmp(argv[1], "steer") == 0, NULL);
    perror("proxy_run");
    _exit(1);
  }
  close(reports[1]);
  struct port_report report;
  struct pollfd polls[] = {{.fd = reports[0], .events = POLLIN}, {.fd = 0, .events = POLLIN}};
  while (poll(polls, 2, -1) > 0 && polls[1].revents == 0 &&
         read(reports[0], &report, sizeof report) == (ssize_t)sizeof report) {
    printf("%s %u/%s\n", report.listening ? "up" : "down", report.port, report.udp ? "udp" : "tcp");
    if (fflush(stdout) != 0) break;
  }
  /* The proxy ends with the pipe. */
  close(reports[0]);
  return waitpid(pid, NULL, 0) == pid ? 0 : 1;
}
