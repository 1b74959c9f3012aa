//! A proxy for the server's port, which can cut the connections.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Forwards connections to the server of a test.
pub struct Proxy {
    port: u16,
    /// The open streams; `None` while connections are cut.
    streams: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Proxy {
    /// Starts a proxy for the server of `url`.
    pub fn to(url: &str) -> Self {
        let options = mysql::Opts::from_url(url).expect("the server's URL");
        let server = (options.get_ip_or_hostname().into_owned(), options.get_tcp_port());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its port").port();
        let streams = Arc::new(Mutex::new(Some(Vec::new())));
        let open = Arc::clone(&streams);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut open = open.lock().expect("no panic");
                if let Some(streams) = &mut *open
                    && let Ok(upstream) = TcpStream::connect((server.0.as_str(), server.1))
                {
                    for (from, to) in [(&client, &upstream), (&upstream, &client)] {
                        let (from, to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
                        thread::spawn(move || carry(from, to));
                    }
                    streams.extend([client, upstream]);
                }
            }
        });
        Self { port, streams }
    }

    /// Returns `url` with the port of the proxy.
    pub fn url(&self, url: &str) -> String {
        let (front, rest) = url.rsplit_once(':').expect("a port");
        let (_, database) = rest.split_once('/').expect("a database");
        format!("{front}:{}/{database}", self.port)
    }

    /// Closes all connections and refuses new ones.
    pub fn cut(&self) {
        for stream in self.streams.lock().expect("no panic").take().into_iter().flatten() {
            // The peer may have closed it already.
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// Accepts connections again.
    pub fn restore(&self) {
        *self.streams.lock().expect("no panic") = Some(Vec::new());
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    drop(io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Both));
}
