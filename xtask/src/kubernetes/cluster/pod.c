// What the test's pods run. As the pause container of a pod: nothing. With a number: a server that accepts so many
// connections from itself, whose clients close them, and never closes one.
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **arguments)
{
    int leaks = count > 1 ? atoi(arguments[1]) : 0;
    if (leaks > 0) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16))
            return 1;
        while (leaks-- > 0) {
            int client = socket(AF_INET, SOCK_STREAM, 0);
            if (connect(client, (struct sockaddr *)&address, sizeof address) || accept(listener, 0, 0) < 0)
                return 1;
            close(client);
        }
    }
    for (;;)
        pause();
}
