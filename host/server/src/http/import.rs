//! `POST /v1/import`: lines of JSON become the log, or continue it.
//!
//! The body may be of any length. A thread of its own checks the lines while they arrive and puts them aside, into a file
//! without a name: it goes with the process, however that ends. Once all of them are good, they are imported.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::{Buf, Bytes};
use cairn_model::Position;
use cairn_store::{Imported, Store};
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::Shared;
use super::export::NDJSON;
use super::request::{Caller, has_media_type};
use super::respond::{json, number};
use crate::problem::{Code, Problem};
use crate::transfer::{self, Refusal};

/// How many pieces of the body wait for the thread.
const PIECES: usize = 8;

/// One import at a time.
static TURN: Semaphore = Semaphore::const_new(1);

#[derive(Serialize)]
struct Done {
    imported: u64,
    skipped: u64,
    position: Position,
}

/// Imports a whole log, or the rest of one: what is there already is skipped. It is answered once commands can be decided on
/// what was imported, or after the longest wait that the host grants.
pub async fn import(
    State(services): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Response, Problem> {
    caller.administrator()?;
    if !has_media_type(&headers, NDJSON) {
        let detail = format!("the body must have the content type {NDJSON}");
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let turn =
        TURN.try_acquire().map_err(|_| Problem::new(Code::Overloaded, "another import is under way"))?;
    let (sender, pieces) = mpsc::channel(PIECES);
    let (store, folder, runtime) = (services.store.clone(), services.data.clone(), Handle::current());
    // Whoever hangs up before the end of the body stops it; after that nothing does.
    let receiving = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        receive(&store, &runtime, Pieces::new(pieces), &folder)
    });
    let timeout = services.limits.body_timeout;
    feed(&mut body, sender, timeout).await?;
    let received = receiving.await.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    if received.is_err() {
        // A connection that is closed while the client still sends would take the answer with it.
        let rest = async { while let Some(Ok(_)) = body.frame().await {} };
        let _ = tokio::time::timeout(timeout, rest).await;
    }
    let Imported { imported, skipped, head } = received.map_err(problem)?;
    tracing::info!(imported, skipped, position = head, "a log was imported");
    // Until access and claims are back, nothing is decided and lists are empty.
    let mut intact = services.store.facts_intact();
    let _ = tokio::time::timeout(services.limits.wait, intact.wait_for(|intact| *intact)).await;
    let mut response = json(StatusCode::OK, &Done { imported, skipped, position: head });
    response.headers_mut().insert("cairn-position", number(head));
    Ok(response)
}

/// Hands the body on, piece by piece, until its end or until nobody wants more of it.
async fn feed(body: &mut Body, to: mpsc::Sender<Option<Bytes>>, timeout: Duration) -> Result<(), Problem> {
    loop {
        let frame = tokio::time::timeout(timeout, body.frame())
            .await
            .map_err(|_| Problem::new(Code::RequestTimeout, "the body did not go on in time"))?;
        let piece = match frame.transpose() {
            Ok(Some(frame)) => match frame.into_data() {
                Ok(data) => Some(data),
                Err(_) => continue,
            },
            Ok(None) => None,
            Err(error) => return Err(Problem::invalid("", format!("the body did not arrive: {error}"))),
        };
        let is_end = piece.is_none();
        if to.send(piece).await.is_err() || is_end {
            return Ok(());
        }
    }
}

/// Checks and puts aside what arrives, then imports it.
fn receive(store: &Store, runtime: &Handle, pieces: Pieces, folder: &Path) -> Result<Imported, Refusal> {
    let (aside, _) = transfer::put_aside(store, runtime, pieces, folder)?;
    transfer::bring_in(store, runtime, BufReader::new(aside), |_| ())
}

fn problem(refusal: Refusal) -> Problem {
    let detail = refusal.to_string();
    let (cause, imported) = match refusal {
        Refusal::Partly { imported, source } => (*source, imported),
        other => (other, 0),
    };
    let public =
        format!("the store failed; {imported} events were imported before, and the import can go on");
    match cause {
        Refusal::Line { line, reason } => {
            Problem::new(Code::InvalidInput, detail).with_error(format!("line {line}"), reason)
        }
        Refusal::TooLong { .. } => Problem::new(Code::BodyTooLarge, detail),
        Refusal::Differs { .. } => Problem::new(Code::Conflict, detail),
        Refusal::Read(_) => Problem::new(Code::InvalidInput, detail),
        Refusal::PutAside(error) => {
            tracing::error!(%error, "an import could not be put aside");
            Problem::new(Code::StoreUnavailable, "the body cannot be put aside: is the disk full?")
        }
        Refusal::Store(cairn_store::Error::Overloaded) => Problem::new(Code::Overloaded, detail),
        Refusal::Store(error) => {
            tracing::error!(%error, "an import failed");
            Problem::new(Code::StoreUnavailable, public)
        }
        Refusal::Partly { .. } => Problem::new(Code::Internal, detail),
    }
}

/// The body as the thread reads it.
struct Pieces {
    /// `None` is the body's end. Without it, the body was broken off.
    from: mpsc::Receiver<Option<Bytes>>,
    piece: Bytes,
    ended: bool,
}

impl Pieces {
    fn new(from: mpsc::Receiver<Option<Bytes>>) -> Self {
        Self { from, piece: Bytes::new(), ended: false }
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() && !self.ended {
            match self.from.blocking_recv() {
                Some(Some(piece)) => self.piece = piece,
                Some(None) => self.ended = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, amount: usize) {
        self.piece.advance(amount);
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}
