//! Connections whose other side takes nothing any more are closed by the kernel, whatever answer is under way: a stream's seat and
//! its buffers come back.

use std::any::Any;
use std::os::fd::AsFd;
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use rustix::net::sockopt::set_tcp_user_timeout;

/// A paused laptop comes back with its next request.
pub(super) const LONGEST_STALL: Duration = Duration::from_secs(60);

/// For `HttpServer::on_connect`.
pub(super) fn bound(stall: Duration) -> impl Fn(&dyn Any, &mut Extensions) + Clone {
    let millis = u32::try_from(stall.as_millis()).unwrap_or(u32::MAX);
    move |connection, _| {
        if let Some(stream) = connection.downcast_ref::<TcpStream>()
            && let Err(error) = set_tcp_user_timeout(stream.as_fd(), millis)
        {
            tracing::warn!(%error, "a reader that stalls will hold its connection");
        }
    }
}
