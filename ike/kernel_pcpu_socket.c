/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The connection to the gateway.
 *
 * One thread connects, says hello, has the user of this tell all, and then reads
 * what comes: replies wake whoever waits for them, events go to the user. It is
 * not a job of charon's pool: when all threads of the pool wait for replies,
 * somebody still has to read them.
 */

#include "kernel_pcpu_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <time.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <collections/linked_list.h>
#include <ipsec/ipsec_types.h>
#include <threading/condvar.h>
#include <threading/mutex.h>
#include <threading/rwlock.h>
#include <threading/thread.h>
#include <utils/debug.h>

/** Between two attempts to connect, in ms: the first, and the longest */
#define RETRY_MIN 50
#define RETRY_MAX 1000

/** For how long a gateway may think about a request, in ms */
#define REPLY_TIMEOUT 5000

typedef struct private_kernel_pcpu_socket_t private_kernel_pcpu_socket_t;
typedef struct waiter_t waiter_t;

/**
 * Private data of kernel_pcpu_socket_t
 */
struct private_kernel_pcpu_socket_t {

	/**
	 * Public interface
	 */
	kernel_pcpu_socket_t public;

	/**
	 * Whom to tell
	 */
	kernel_pcpu_user_t user;

	/**
	 * Path of the gateway's socket
	 */
	char *path;

	/**
	 * Number of this charon's life
	 */
	uint64_t generation;

	/**
	 * Number of the gateway's life that we were connected to last, 0 if none
	 */
	uint64_t epoch;

	/**
	 * Read by whoever is between begin() and end(), written during sync()
	 */
	rwlock_t *lock;

	/**
	 * Guards all below
	 */
	mutex_t *mutex;

	/**
	 * Signaled to waiters
	 */
	condvar_t *condvar;

	/**
	 * Connection, -1 if there is none
	 */
	int fd;

	/**
	 * TRUE if requests may be sent
	 */
	bool up;

	/**
	 * TRUE to end the thread
	 */
	bool stop;

	/**
	 * Number of the last request
	 */
	uint32_t id;

	/**
	 * Requests without a reply yet, waiter_t*
	 */
	linked_list_t *waiters;

	/**
	 * Wakes the thread for its end
	 */
	int wakeup;

	/**
	 * Connects and reads
	 */
	thread_t *thread;
};

/**
 * Somebody who waits for a reply
 */
struct waiter_t {

	/**
	 * Number of the request
	 */
	uint32_t id;

	/**
	 * Where the reply goes
	 */
	struct ike_reply *reply;

	/**
	 * TRUE if it is there
	 */
	bool done;
};

/**
 * Read one message.
 *
 * @param timeout	in ms, -1 for none
 * @return			its length, -1 with errno
 */
static ssize_t read_msg(private_kernel_pcpu_socket_t *this,
						union ike_any *buf, int timeout)
{
	struct pollfd pfd[] = {
		{ .fd = this->fd, .events = POLLIN },
		{ .fd = this->wakeup, .events = POLLIN },
	};
	ssize_t len;
	int ret;

	do
	{
		ret = poll(pfd, countof(pfd), timeout);
	}
	while (ret == -1 && errno == EINTR);

	if (ret <= 0)
	{
		errno = ret ? errno : ETIMEDOUT;
		return -1;
	}
	if (pfd[1].revents)
	{
		errno = ECANCELED;
		return -1;
	}
	len = recv(this->fd, buf, sizeof(*buf), MSG_TRUNC);
	if (len == 0)
	{
		errno = ECONNRESET;
		return -1;
	}
	if (len > 0 && ((size_t)len < sizeof(buf->hdr) ||
					(size_t)len != ike_msg_len(buf->hdr.type)))
	{
		DBG1(DBG_KNL, "dpdk-pcpu-gw sent a message of %zd bytes that is none: its "
			 "version and the plugin's do not fit", len);
		errno = EPROTO;
		return -1;
	}
	return len;
}

/**
 * Send a message; this->mutex is held, or we are in sync.
 */
static bool send_msg(private_kernel_pcpu_socket_t *this, struct ike_hdr *msg,
					 size_t len)
{
	ssize_t sent;

	do
	{
		sent = send(this->fd, msg, len, MSG_NOSIGNAL);
	}
	while (sent == -1 && errno == EINTR);
	return sent == (ssize_t)len;
}

/**
 * Give a reply to whoever waits for it
 */
static void deliver_reply(private_kernel_pcpu_socket_t *this,
						  struct ike_reply *reply)
{
	enumerator_t *enumerator;
	waiter_t *waiter;

	this->mutex->lock(this->mutex);
	enumerator = this->waiters->create_enumerator(this->waiters);
	while (enumerator->enumerate(enumerator, &waiter))
	{
		if (waiter->id == reply->hdr.id)
		{
			*waiter->reply = *reply;
			waiter->done = TRUE;
			this->condvar->broadcast(this->condvar);
			break;
		}
	}
	enumerator->destroy(enumerator);
	this->mutex->unlock(this->mutex);
}

/**
 * Send a request and read until its reply is there: for the thread itself
 */
static int request_sync(private_kernel_pcpu_socket_t *this,
						struct ike_hdr *msg, size_t len,
						struct ike_reply *reply)
{
	union ike_any buf;

	msg->id = ++this->id;
	if (!send_msg(this, msg, len))
	{
		return ENOTCONN;
	}
	while (TRUE)
	{
		if (read_msg(this, &buf, REPLY_TIMEOUT) == -1)
		{
			return errno == ETIMEDOUT ? ETIMEDOUT : ENOTCONN;
		}
		if (buf.hdr.type != IKE_REPLY)
		{
			this->user.event(this->user.data, &buf);
		}
		else if (buf.hdr.id == msg->id)
		{
			*reply = buf.reply;
			return reply->status;
		}
	}
}

/**
 * Close the connection; who waits for a reply gets none
 */
static void disconnect(private_kernel_pcpu_socket_t *this)
{
	this->mutex->lock(this->mutex);
	this->up = FALSE;
	if (this->fd != -1)
	{
		close(this->fd);
		this->fd = -1;
	}
	this->condvar->broadcast(this->condvar);
	this->mutex->unlock(this->mutex);
}

/**
 * Connect and say hello.
 *
 * @param restarted	set to TRUE if it is not the gateway of the last time
 * @return			0, an errno value
 */
static int connect_gateway(private_kernel_pcpu_socket_t *this, bool *restarted)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval timeout = { .tv_sec = REPLY_TIMEOUT / 1000 };
	struct ike_hello hello = {
		.hdr.type = IKE_HELLO,
		.version = IKE_VERSION,
		.generation = this->generation,
#ifdef CPU_ID_MAX
		.pcpu = 1,
#endif
	};
	struct ike_reply reply;
	int status;

	strncpy(addr.sun_path, this->path, sizeof(addr.sun_path) - 1);
	this->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (this->fd == -1)
	{
		return errno;
	}
	/* a gateway that does not read must not hold charon */
	setsockopt(this->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(this->fd, (struct sockaddr*)&addr, sizeof(addr)) != 0)
	{
		return errno;
	}
	status = request_sync(this, &hello.hdr, sizeof(hello), &reply);
	if (status == 0)
	{
		*restarted = this->epoch != reply.epoch;
		this->epoch = reply.epoch;
		DBG1(DBG_KNL, "connected to dpdk-pcpu-gw with %u workers%s",
			 reply.workers, *restarted ? "" : ", the same as before");
	}
	return status;
}

/**
 * Read what comes until the connection breaks
 */
static void receive(private_kernel_pcpu_socket_t *this)
{
	union ike_any buf;

	while (read_msg(this, &buf, -1) != -1)
	{
		if (buf.hdr.type == IKE_REPLY)
		{
			deliver_reply(this, &buf.reply);
		}
		else
		{
			this->user.event(this->user.data, &buf);
		}
	}
}

/**
 * Log why there is no connection, where that is another reason than before
 */
static void log_failure(private_kernel_pcpu_socket_t *this, int status,
						int *last)
{
	if (status == *last)
	{
		return;
	}
	*last = status;
	switch (status)
	{
		case EPROTONOSUPPORT:
			DBG1(DBG_KNL, "dpdk-pcpu-gw speaks another version of the protocol "
				 "than this plugin (%d): install both of one build",
				 IKE_VERSION);
			break;
		case EBUSY:
			DBG1(DBG_KNL, "dpdk-pcpu-gw serves another charon already");
			break;
		default:
			DBG1(DBG_KNL, "no connection to dpdk-pcpu-gw at %s: %s; trying "
				 "again", this->path, strerror(status));
			break;
	}
}

/**
 * The thread
 */
static void *serve(private_kernel_pcpu_socket_t *this)
{
	struct pollfd wakeup = { .fd = this->wakeup, .events = POLLIN };
	bool restarted = TRUE;
	int status, last = 0, wait = RETRY_MIN;

	/* may be earlier than in the creator */
	this->thread = thread_current();

	while (!this->stop)
	{
		status = connect_gateway(this, &restarted);
		if (status == 0)
		{
			/* waits for whoever is between begin() and end() */
			this->lock->write_lock(this->lock);
			if (this->user.sync(this->user.data, restarted))
			{
				this->mutex->lock(this->mutex);
				this->up = TRUE;
				this->mutex->unlock(this->mutex);
			}
			this->lock->unlock(this->lock);
			if (this->up)
			{
				last = 0;
				wait = RETRY_MIN;
				receive(this);
				status = this->stop ? 0 : errno;
			}
			else
			{
				status = EPROTO;
			}
		}
		disconnect(this);
		if (this->stop)
		{
			break;
		}
		log_failure(this, status, &last);
		poll(&wakeup, 1, wait);
		wait = min(wait * 2, RETRY_MAX);
	}
	return NULL;
}

METHOD(kernel_pcpu_socket_t, start, bool,
	private_kernel_pcpu_socket_t *this, kernel_pcpu_user_t user)
{
	struct sockaddr_un addr;

	if (strlen(this->path) >= sizeof(addr.sun_path))
	{
		DBG1(DBG_KNL, "kernel-pcpu.socket is too long for the path of a socket: "
			 "%s", this->path);
		return FALSE;
	}
	this->user = user;
	if (this->wakeup != -1)
	{
		this->thread = thread_create((thread_main_t)serve, this);
	}
	if (!this->thread)
	{
		DBG1(DBG_KNL, "no thread for the connection to dpdk-pcpu-gw: %s",
			 strerror(errno));
		return FALSE;
	}
	return TRUE;
}

METHOD(kernel_pcpu_socket_t, begin, bool,
	private_kernel_pcpu_socket_t *this)
{
	bool up;

	this->lock->read_lock(this->lock);
	this->mutex->lock(this->mutex);
	up = this->up;
	this->mutex->unlock(this->mutex);
	return up;
}

METHOD(kernel_pcpu_socket_t, end, void,
	private_kernel_pcpu_socket_t *this)
{
	this->lock->unlock(this->lock);
}

METHOD(kernel_pcpu_socket_t, request, int,
	private_kernel_pcpu_socket_t *this, struct ike_hdr *msg, size_t len,
	struct ike_reply *reply)
{
	struct ike_reply unused;
	waiter_t waiter = {
		.reply = reply ?: &unused,
	};
	int status = 0;

	if (thread_current() == this->thread)
	{
		return request_sync(this, msg, len, waiter.reply);
	}

	this->mutex->lock(this->mutex);
	waiter.id = msg->id = ++this->id;
	if (!this->up || !send_msg(this, msg, len))
	{
		status = ENOTCONN;
	}
	else
	{
		this->waiters->insert_last(this->waiters, &waiter);
		while (!waiter.done && this->up && !status)
		{
			if (this->condvar->timed_wait(this->condvar, this->mutex,
										  REPLY_TIMEOUT))
			{
				status = ETIMEDOUT;
			}
		}
		this->waiters->remove(this->waiters, &waiter, NULL);
		if (waiter.done)
		{
			status = waiter.reply->status;
		}
		else if (!status)
		{
			status = ENOTCONN;
		}
	}
	if (status == ENOTCONN || status == ETIMEDOUT)
	{
		/* it may have done what was asked, or not: begin anew */
		if (this->up)
		{
			DBG1(DBG_KNL, "dpdk-pcpu-gw does not answer");
			shutdown(this->fd, SHUT_RDWR);
			this->up = FALSE;
			this->condvar->broadcast(this->condvar);
		}
	}
	this->mutex->unlock(this->mutex);
	return status;
}

METHOD(kernel_pcpu_socket_t, destroy, void,
	private_kernel_pcpu_socket_t *this)
{
	if (this->thread)
	{
		this->stop = TRUE;
		if (eventfd_write(this->wakeup, 1) == 0)
		{
			this->thread->join(this->thread);
		}
	}
	if (this->wakeup != -1)
	{
		close(this->wakeup);
	}
	this->waiters->destroy(this->waiters);
	this->condvar->destroy(this->condvar);
	this->mutex->destroy(this->mutex);
	this->lock->destroy(this->lock);
	free(this->path);
	free(this);
}

/*
 * Described in header
 */
kernel_pcpu_socket_t *kernel_pcpu_socket_create()
{
	private_kernel_pcpu_socket_t *this;

	INIT(this,
		.public = {
			.start = _start,
			.begin = _begin,
			.end = _end,
			.request = _request,
			.destroy = _destroy,
		},
		.path = strdup(lib->settings->get_str(lib->settings,
							"%s.plugins.kernel-pcpu.socket", IKE_SOCKET_PATH,
							lib->ns)),
		.lock = rwlock_create(RWLOCK_TYPE_DEFAULT),
		.mutex = mutex_create(MUTEX_TYPE_DEFAULT),
		.condvar = condvar_create(CONDVAR_TYPE_DEFAULT),
		.waiters = linked_list_create(),
		.fd = -1,
		.wakeup = eventfd(0, EFD_CLOEXEC),
	);

	if (getrandom(&this->generation, sizeof(this->generation), 0) !=
		sizeof(this->generation))
	{
		this->generation = (uint64_t)time(NULL) << 32 | getpid();
	}
	return &this->public;
}
