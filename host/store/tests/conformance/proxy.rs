//! A way to the server on which a commit can get lost.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// What the store says to commit.
const COMMIT: &[u8] = b"COMMIT AND CHAIN";

/// What gets lost of the next commit.
#[derive(Clone, Copy)]
pub enum Lose {
    Nothing = 0,
    /// The server never hears of it.
    Question = 1,
    /// It happens, but nobody is told.
    Answer = 2,
}

pub struct Proxy {
    pub port: u16,
    next: Arc<AtomicU8>,
}

impl Proxy {
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listens");
        let port = listener.local_addr().expect("an address").port();
        let next = Arc::new(AtomicU8::new(Lose::Nothing as u8));
        let shared = next.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await {
                    connect(client, server, shared.clone());
                }
            }
        });
        Self { port, next }
    }

    pub fn lose(&self, what: Lose) {
        self.next.store(what as u8, Ordering::SeqCst);
    }

    /// Whether it was lost.
    pub fn has_lost(&self) -> bool {
        self.next.load(Ordering::SeqCst) == Lose::Nothing as u8
    }
}

fn connect(client: TcpStream, server: TcpStream, next: Arc<AtomicU8>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (cut, cutting) = oneshot::channel::<()>();
    tokio::spawn(async move {
        tokio::select! {
            () = answers(from_server, to_client) => {}
            // Both halves that lead to the client are dropped, so it sees the end of the connection.
            Ok(()) = cutting => {}
        }
    });
    tokio::spawn(questions(from_client, to_server, next, cut));
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

async fn questions(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    next: Arc<AtomicU8>,
    cut: oneshot::Sender<()>,
) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let question = &buffer[..count];
        let commits = question.windows(COMMIT.len()).any(|window| window == COMMIT);
        let lose = if commits { next.swap(Lose::Nothing as u8, Ordering::SeqCst) } else { 0 };
        if lose == Lose::Question as u8 {
            let _ = cut.send(());
            return;
        }
        if lose == Lose::Answer as u8 {
            // First the client is cut off, then the server is told.
            let _ = cut.send(());
            let _ = to.write_all(question).await;
            return;
        }
        if to.write_all(question).await.is_err() {
            return;
        }
    }
}
