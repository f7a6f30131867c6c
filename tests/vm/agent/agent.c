/* Runs commands in the test host for tests/vm/guest.py, over one stream of bytes: a virtio port or ssh's pipes.
 *
 * Usage: agent [PORT]     PORT is a path, or the name of a virtio port; without it, stdin and stdout are the stream.
 *
 * Both ways go frames: a header (length of what follows it, number of the job, kind), then the payload. There is no
 * shell: a command is its argv. The tester picks the numbers of jobs; many run at the same time.
 *
 *   tester to agent                                    agent to tester
 *   R  run: flags, then strings (below)                H  hello: the agent is there
 *   I  bytes for its stdin; none: end of file          O  bytes of its stdout, or of its terminal
 *   W  rows, columns of its terminal                   E  bytes of its stderr
 *   K  a signal for its process group                  X  it has ended: 0..255, or 128 + signal
 *                                                      F  it could not be started: why
 *
 * The strings of R, each ending with NUL: directory, "UID:GID" or "", count of args, args..., environment...
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FLAG_TTY = 1 };
enum { MAX_JOBS = 256, MAX_PAYLOAD = 1 << 20, CHUNK = 32768, MAX_STRINGS = 1024 };

struct header {
	uint32_t length; /* of the payload */
	uint32_t job;
	uint32_t kind; /* a letter */
};

struct job {
	uint32_t number;
	pid_t pid;     /* 0: this slot is free; -1: it has ended, somebody else still holds its output */
	int in;        /* where its stdin is written; a terminal's only fd is in `out` */
	int out, err;  /* where its output is read */
	int tty;
	int in_ends;   /* the tester said end of file */
	char *waiting; /* bytes for its stdin, of which it has taken `taken` */
	size_t waiting_length, taken;
};

static struct job jobs[MAX_JOBS];
static int stream_in, stream_out;

static void die(const char *what)
{
	fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void write_all(const void *data, size_t length)
{
	const char *at = data;

	while (length > 0) {
		ssize_t written = write(stream_out, at, length);
		if (written < 0) {
			if (errno == EINTR)
				continue;
			if (errno == EAGAIN) {
				poll(&(struct pollfd){ .fd = stream_out, .events = POLLOUT }, 1, -1);
				continue;
			}
			die("write to the tester");
		}
		at += written;
		length -= (size_t)written;
	}
}

static void send_frame(uint32_t job, char kind, const void *payload, size_t length)
{
	struct header header = { .length = (uint32_t)length, .job = job, .kind = (uint32_t)kind };

	write_all(&header, sizeof(header));
	write_all(payload, length);
}

static int read_all(void *data, size_t length)
{
	char *at = data;

	while (length > 0) {
		ssize_t got = read(stream_in, at, length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN) {
			poll(&(struct pollfd){ .fd = stream_in, .events = POLLIN }, 1, -1);
			continue;
		}
		if (got <= 0)
			return -1;
		at += got;
		length -= (size_t)got;
	}
	return 0;
}

static struct job *find_job(uint32_t number)
{
	for (int i = 0; i < MAX_JOBS; i++)
		if (jobs[i].pid > 0 && jobs[i].number == number)
			return &jobs[i];
	return NULL;
}

static void fail_to_start(uint32_t number, const char *what, int error)
{
	char text[512];
	int length = snprintf(text, sizeof(text), "%s: %s", what, strerror(error));

	send_frame(number, 'F', text, (size_t)(length < (int)sizeof(text) ? length : (int)sizeof(text) - 1));
}

struct command {
	const char *directory, *user;
	char *args[MAX_STRINGS], *environment[MAX_STRINGS];
};

/* Takes the strings of a request apart; 0, or -1 where they are not as promised. */
static int parse_command(char *payload, size_t length, struct command *ret)
{
	char *strings[MAX_STRINGS];
	size_t count = 0, args;

	if (length == 0 || payload[length - 1] != '\0')
		return -1;
	for (char *at = payload; at < payload + length; at += strlen(at) + 1) {
		if (count == MAX_STRINGS)
			return -1;
		strings[count++] = at;
	}
	if (count < 4)
		return -1;
	ret->directory = strings[0];
	ret->user = strings[1];
	args = strtoul(strings[2], NULL, 10);
	if (args == 0 || args > count - 3)
		return -1;
	memcpy(ret->args, strings + 3, args * sizeof(char *));
	ret->args[args] = NULL;
	memcpy(ret->environment, strings + 3 + args, (count - 3 - args) * sizeof(char *));
	ret->environment[count - 3 - args] = NULL;
	return 0;
}

/* In the child: become the command. What fails is told by a byte of what, then errno. */
static void become(const struct command *command, int tell)
{
	int error[2] = { 0, 0 };
	sigset_t none;

	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (*command->user) {
		unsigned int uid, gid;
		if (sscanf(command->user, "%u:%u", &uid, &gid) != 2) {
			error[0] = 'u', errno = EINVAL;
			goto failed;
		}
		error[0] = 'u';
		if (setgroups(1, &gid) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
			goto failed;
	}
	error[0] = 'd';
	if (chdir(command->directory) < 0)
		goto failed;
	error[0] = 'x';
	environ = (char **)(uintptr_t)command->environment;
	execvp(command->args[0], command->args);
failed:
	error[1] = errno;
	if (write(tell, error, sizeof(error)) != sizeof(error))
		_exit(126);
	_exit(127);
}

static void nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void start_job(uint32_t number, char *payload, size_t length)
{
	static struct command command;
	struct job *job = NULL;
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 }, tell[2], error[2];
	uint32_t flags;

	if (length < sizeof(flags) || parse_command(payload + sizeof(flags), length - sizeof(flags), &command) < 0) {
		fail_to_start(number, "the request", EINVAL);
		return;
	}
	memcpy(&flags, payload, sizeof(flags));
	for (int i = 0; i < MAX_JOBS && !job; i++)
		if (jobs[i].pid == 0)
			job = &jobs[i];
	if (!job) {
		fail_to_start(number, "too many jobs", EAGAIN);
		return;
	}
	*job = (struct job){ .number = number, .in = -1, .out = -1, .err = -1, .tty = flags & FLAG_TTY };
	if (pipe2(tell, O_CLOEXEC) < 0)
		die("pipe2");
	if (job->tty) {
		struct winsize size = { .ws_row = 24, .ws_col = 80 };
		job->pid = forkpty(&job->out, NULL, NULL, &size);
		if (job->pid == 0)
			become(&command, tell[1]);
		fcntl(job->out, F_SETFD, FD_CLOEXEC);
	} else {
		if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
			die("pipe2");
		job->pid = fork();
		if (job->pid == 0) {
			setsid();
			dup2(in[0], 0);
			dup2(out[1], 1);
			dup2(err[1], 2);
			become(&command, tell[1]);
		}
		close(in[0]);
		close(out[1]);
		close(err[1]);
		job->in = in[1];
		job->out = out[0];
		job->err = err[0];
		nonblocking(job->in);
		nonblocking(job->err);
	}
	if (job->pid < 0)
		die("fork");
	nonblocking(job->out);
	close(tell[1]);
	if (read(tell[0], error, sizeof(error)) == sizeof(error)) {
		const char *what = error[0] == 'x' ? command.args[0] : error[0] == 'd' ? command.directory : command.user;
		fail_to_start(number, what, error[1]);
		waitpid(job->pid, NULL, 0);
		close_fd(&job->in);
		close_fd(&job->out);
		close_fd(&job->err);
		job->pid = 0;
	}
	close(tell[0]);
}

static void forget_input(struct job *job)
{
	free(job->waiting);
	job->waiting = NULL;
	job->waiting_length = job->taken = 0;
}

/* Gives a job what it will take of its stdin now. */
static void feed(struct job *job)
{
	int fd = job->tty ? job->out : job->in;

	while (fd >= 0 && job->taken < job->waiting_length) {
		ssize_t written = write(fd, job->waiting + job->taken, job->waiting_length - job->taken);
		if (written < 0 && errno == EAGAIN)
			return;
		if (written < 0) /* it reads no more */
			break;
		job->taken += (size_t)written;
	}
	forget_input(job);
	if (job->in_ends)
		close_fd(&job->in);
}

/* Passes on what a job has written, as much as a pipe holds. Nobody listens to a job that has ended. */
static void drain(struct job *job, int *fd, char kind)
{
	static char buffer[CHUNK];

	for (int turns = 0; *fd >= 0 && turns < 8; turns++) {
		ssize_t got = read(*fd, buffer, sizeof(buffer));
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0) /* a terminal says EIO when its last user is gone */
			close_fd(fd);
		else if (job->pid > 0)
			send_frame(job->number, kind, buffer, (size_t)got);
	}
}

static void free_if_over(struct job *job)
{
	if (job->pid == -1 && job->out < 0 && job->err < 0)
		job->pid = 0;
}

/* Ended children are told after all they had written. Their output stays open for those they left behind. */
static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < MAX_JOBS; i++) {
			struct job *job = &jobs[i];
			int32_t code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
			if (job->pid != pid)
				continue;
			drain(job, &job->out, 'O');
			drain(job, &job->err, 'E');
			send_frame(job->number, 'X', &code, sizeof(code));
			close_fd(&job->in);
			forget_input(job);
			job->pid = -1;
			free_if_over(job);
		}
}

/* One frame from the tester; -1 when it is gone. */
static int handle_frame(void)
{
	static char payload[MAX_PAYLOAD];
	struct header header;
	struct job *job;

	if (read_all(&header, sizeof(header)) < 0)
		return -1;
	if (header.length > sizeof(payload)) {
		errno = EMSGSIZE;
		die("a frame");
	}
	if (read_all(payload, header.length) < 0)
		return -1;
	if (header.kind == 'R') {
		start_job(header.job, payload, header.length);
		return 0;
	}
	job = find_job(header.job);
	if (!job)
		return 0; /* it has ended meanwhile */
	if (header.kind == 'I' && header.length == 0) {
		static const char end_of_transmission = 4; /* on a terminal, a character ends the input */
		if (job->tty && write(job->out, &end_of_transmission, 1) != 1)
			return 0;
		job->in_ends = 1;
		feed(job);
	} else if (header.kind == 'I') {
		char *more = realloc(job->waiting, job->waiting_length + header.length);
		if (!more)
			die("memory");
		memcpy(more + job->waiting_length, payload, header.length);
		job->waiting = more;
		job->waiting_length += header.length;
		feed(job);
	} else if (header.kind == 'W' && header.length == 4 && job->tty) {
		uint16_t rows_columns[2];
		memcpy(rows_columns, payload, sizeof(rows_columns));
		ioctl(job->out, TIOCSWINSZ, &(struct winsize){ .ws_row = rows_columns[0], .ws_col = rows_columns[1] });
	} else if (header.kind == 'K' && header.length == 4) {
		int32_t number;
		memcpy(&number, payload, sizeof(number));
		kill(-job->pid, number);
	}
	return 0;
}

/* Opens the stream: a path, or the virtio port of that name, which may take a moment to appear. */
static void open_stream(const char *name)
{
	char path[300];
	int fd = -1;

	for (int tries = 0; fd < 0; tries++) {
		DIR *ports = *name == '/' ? NULL : opendir("/sys/class/virtio-ports");
		snprintf(path, sizeof(path), "%s", *name == '/' ? name : "");
		for (struct dirent *entry; ports && (entry = readdir(ports));) {
			char file[300], found[64] = "";
			snprintf(file, sizeof(file), "/sys/class/virtio-ports/%.200s/name", entry->d_name);
			int named = open(file, O_RDONLY | O_CLOEXEC);
			if (named >= 0 && read(named, found, sizeof(found) - 1) > 0 &&
			    strncmp(found, name, strlen(name)) == 0)
				snprintf(path, sizeof(path), "/dev/%.200s", entry->d_name);
			close_fd(&named);
		}
		if (ports)
			closedir(ports);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0 && tries > 500)
			die(name);
		if (fd < 0)
			usleep(20000);
	}
	stream_in = stream_out = fd;
}

int main(int argc, char **argv)
{
	static struct pollfd watched[3 * MAX_JOBS + 2];
	sigset_t children;
	int ended;

	if (argc > 2) {
		fprintf(stderr, "usage: %s [PORT]\n", argv[0]);
		return 2;
	}
	if (argc == 2) {
		open_stream(argv[1]);
	} else {
		stream_in = fcntl(0, F_DUPFD_CLOEXEC, 3);
		stream_out = fcntl(1, F_DUPFD_CLOEXEC, 3);
	}
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	ended = signalfd(-1, &children, SFD_NONBLOCK | SFD_CLOEXEC);
	if (ended < 0)
		die("signalfd");
	send_frame(0, 'H', "1", 1);
	for (;;) {
		nfds_t count = 2;

		watched[0] = (struct pollfd){ .fd = stream_in, .events = POLLIN };
		watched[1] = (struct pollfd){ .fd = ended, .events = POLLIN };
		for (int i = 0; i < MAX_JOBS; i++) {
			struct job *job = &jobs[i];
			short more = job->waiting_length ? POLLOUT : 0;
			if (job->pid == 0)
				continue;
			watched[count++] = (struct pollfd){ .fd = job->out, .events = (short)(POLLIN | (job->tty ? more : 0)) };
			watched[count++] = (struct pollfd){ .fd = job->err, .events = POLLIN };
			watched[count++] = (struct pollfd){ .fd = more ? job->in : -1, .events = POLLOUT };
		}
		if (poll(watched, count, -1) < 0 && errno != EINTR)
			die("poll");
		for (int i = 0; i < MAX_JOBS; i++) {
			struct job *job = &jobs[i];
			if (job->pid == 0)
				continue;
			feed(job);
			drain(job, &job->out, 'O');
			drain(job, &job->err, 'E');
			free_if_over(job);
		}
		if (watched[1].revents) {
			struct signalfd_siginfo ignored;
			while (read(ended, &ignored, sizeof(ignored)) == sizeof(ignored))
				;
			reap();
		}
		if ((watched[0].revents & (POLLIN | POLLHUP)) && handle_frame() < 0) {
			if (argc == 2 && *argv[1] != '/') { /* a virtio port without a tester: another may come */
				usleep(100000);
				continue;
			}
			return 0;
		}
	}
}
