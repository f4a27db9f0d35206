//! A TCP proxy that a test can make a bad network of.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How much is passed on at once.
const PIECE_BYTES: usize = 16 * 1024;

/// What the network is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Everything is passed on at once.
    Good,
    /// Each piece waits so long.
    Slow(Duration),
    /// Connections stay open, and nothing is passed on any more: half-open ones.
    Silent,
    /// Every connection is cut, new ones too.
    Cut,
}

/// A proxy in front of a server on this machine. It ends with the test's runtime.
#[derive(Clone, Debug)]
pub struct Proxy {
    port: u16,
    network: Arc<watch::Sender<Network>>,
}

impl Proxy {
    /// Listens on a port of its own and passes everything on to this one.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let network = Arc::new(watch::Sender::new(Network::Good));
        let proxy = Self { port, network: network.clone() };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, SocketAddr::from(([127, 0, 0, 1], to)), network.subscribe()));
            }
        });
        proxy
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on the network is like this, for open connections too.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

async fn connection(client: TcpStream, to: SocketAddr, mut network: watch::Receiver<Network>) {
    if *network.borrow() == Network::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(to).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = pass(from_client, to_server, network.clone()) => {}
        () = pass(from_server, to_client, network.clone()) => {}
        _ = network.wait_for(|network| *network == Network::Cut) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut network: watch::Receiver<Network>) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let Ok(length) = from.read(&mut piece).await else { return };
        let now = *network.borrow();
        if let Network::Slow(pause) = now {
            tokio::time::sleep(pause).await;
        }
        // What was read while nothing passes is passed on later, or cut off with the connection.
        if network.wait_for(|network| *network != Network::Silent).await.is_err() || length == 0 {
            return;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
