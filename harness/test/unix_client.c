/* unix_client PATH: sends its input to the socket at PATH and prints the answer. For guests that have no such tool. */
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  char buffer[4096];
  ssize_t got;
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (argc != 2 || fd < 0) return 2;
  snprintf(address.sun_path, sizeof address.sun_path, "%s", argv[1]);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) return perror("connect"), 1;
  while ((got = read(0, buffer, sizeof buffer)) > 0)
    if (write(fd, buffer, (size_t)got) != got) return perror("write"), 1;
  shutdown(fd, SHUT_WR);
  while ((got = read(fd, buffer, sizeof buffer)) > 0)
    if (write(1, buffer, (size_t)got) != got) return 1;
  return got < 0 ? (perror("read"), 1) : 0;
}
