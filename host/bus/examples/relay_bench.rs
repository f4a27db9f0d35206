//! How many events a second the relay publishes to a Redis that somebody has started, from a log in memory.
//!
//! `cargo run --release -p cairn-bus --example relay_bench -- redis://127.0.0.1:6379 [EVENTS [BATCH [RETAIN]]]`
//!
//! It uses the namespace `bench` and deletes what it finds there.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use cairn_bus::{Bus, Page, RedisOptions, Relay};
use cairn_model::chain::Hash;
use cairn_model::{Clock, RecordedEvent, StreamKey, Timestamp};
use uuid::Uuid;

const DATA: &str = r#"{"name":"report-2024-final.pdf","parent_id":"0190e3a1-7c1e-7cc0-8000-000000000001","size":123456,"mime_type":"application/pdf"}"#;

const METADATA: &str = r#"{"actor":"0190e3a1-7c1e-7cc0-8000-000000000002","tenant":"default","command_id":"0190e3a1-7c1e-7cc0-8000-000000000003","correlation_id":"0190e3a1-7c1e-7cc0-8000-000000000003","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","digest":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","generation":1,"log_id":"0190e3a1-7c1e-7cc0-8000-000000000004","occurred_at":"2024-01-01T00:00:00.000000Z"}"#;

fn event(position: u64) -> RecordedEvent {
    let aggregate = if position.is_multiple_of(4) { "folder" } else { "file" };
    RecordedEvent {
        position,
        stream: StreamKey::new("default", aggregate, Uuid::from_u128(u128::from(position))),
        version: 1,
        event_type: "FileCreated".into(),
        schema_version: 1,
        data: DATA.to_owned(),
        metadata: METADATA.to_owned(),
        recorded_at: Timestamp::from_micros(1_700_000_000_000_000),
        hash: Hash::of(&position.to_be_bytes()),
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("the URL of a Redis");
    let count: u64 = arguments.next().map_or(200_000, |text| text.parse().expect("how many events"));
    let mut options = RedisOptions { namespace: "bench".to_owned(), ..RedisOptions::new(url) };
    if let Some(batch) = arguments.next() {
        options.batch_events = batch.parse().expect("how many events in a batch");
    }
    if let Some(retain) = arguments.next() {
        options.retain_entries = retain.parse().expect("how many events are retained");
    }
    let events: Arc<Vec<RecordedEvent>> = Arc::new((1..=count).map(event).collect());
    let bus = Bus::in_process();
    let read = move |after: u64, limit: u32| {
        let from = usize::try_from(after).unwrap_or(usize::MAX).min(events.len());
        let to = (from + limit as usize).min(events.len());
        let page = Page { events: events[from..to].to_vec(), head: events.len() as u64 };
        async move { Ok::<_, Infallible>(page) }
    };
    // A log of its own, so that what another run left is another log's.
    let now = Clock::System.now();
    let epoch = u64::try_from(now.micros()).unwrap_or(0);
    let relay = Relay::new(&options, cairn_model::ids::new_id(now), epoch, bus.subscribe(), read)
        .expect("the options hold");
    let mut status = relay.status();
    let start = Instant::now();
    let task = tokio::spawn(relay.run());
    let done = status.wait_for(|status| status.published == count).await.expect("the relay runs").clone();
    let seconds = start.elapsed().as_secs_f64();
    println!("{count} events in {seconds:.2} s: {:.0}/s ({done:?})", count as f64 / seconds);
    task.abort();
}
