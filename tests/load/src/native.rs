//! The read model brought back by a plain loop that has the projection compiled in, without a component.
//!
//! It reads the same pages as a host and writes them with the same statements in the same transactions. So what a host
//! needs beyond its time is the price of the sandbox, and of everything that a host does besides.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use cairn_files::domain::{File, Folder};
use cairn_files::read_model::Files;
use cairn_model::chain::Hash;
use cairn_model::manifest::{Manifest, Projection as Declared};
use cairn_model::{Call, Change, Name, Position, RecordedEvent, Timestamp, Value};
use cairn_sdk::cqrs::{self, Changes, Projection};
use cairn_sdk::domain::AggregateRoot;
use cairn_sdk::{events, shared};
use cairn_store::{LogFilter, Options, ReadModel, Store};
use serde::Deserialize;
use uuid::Uuid;

/// A digest of each table's rows.
pub type Sums = BTreeMap<Name, Hash>;

/// The log of a host that does not run now.
pub struct Log<'a> {
    store: Store,
    manifest: &'a Manifest,
    projection: &'a Declared,
    page: u32,
}

impl<'a> Log<'a> {
    /// Opens the log in this data folder; events are read in pages of so many.
    ///
    /// # Errors
    /// When the store does not open.
    pub async fn open(data: &Path, manifest: &'a Manifest, page: u32) -> anyhow::Result<Self> {
        let projection = manifest.projection(Files::NAME).context("the plugin has lost its projection")?;
        let store = Store::open(Options::new(data)).await.context("cannot open the log")?;
        Ok(Self { store, manifest, projection, page: page.max(1) })
    }

    /// Closes it, so that a host can have the folder.
    pub async fn close(self) {
        self.store.close().await;
    }

    /// The digests of the read model that the host left here, which then goes.
    ///
    /// # Errors
    /// When it is not whole up to this position.
    pub async fn take_read_model(&self, up_to: Position) -> anyhow::Result<Sums> {
        let model = self.store.open_read_model(self.projection).await?;
        let position = model.position().await?;
        ensure!(position >= up_to, "the host's read model is at {position}, not at {up_to}");
        sums_of_the_last(model).await
    }

    /// Reads all events and does nothing with them: events per second.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn read(&self) -> anyhow::Result<f64> {
        let started = Instant::now();
        let mut at = 0;
        while let Some((_, to)) = self.next(at).await? {
            at = to;
        }
        Ok(per_second(at, started))
    }

    /// Makes the read model from nothing and takes it away again: events per second, and its digests.
    ///
    /// # Errors
    /// When an event cannot be read, or the tables refuse a change.
    pub async fn project(&self) -> anyhow::Result<(f64, Sums)> {
        let model = self.store.open_read_model(self.projection).await?;
        ensure!(model.position().await? == 0, "there is a read model already");
        let started = Instant::now();
        let mut at = 0;
        while let Some((events, to)) = self.next(at).await? {
            let mut changes = Vec::with_capacity(events.len() * 3);
            for event in events.into_iter().filter(|event| self.wants(event)) {
                self.add_changes(event, &mut changes)?;
            }
            model.apply(changes, at, to).await?;
            at = to;
        }
        let rate = per_second(at, started);
        Ok((rate, sums_of_the_last(model).await?))
    }

    async fn next(&self, after: Position) -> anyhow::Result<Option<(Vec<RecordedEvent>, Position)>> {
        let events =
            self.store.read_log(LogFilter { after, limit: self.page, ..LogFilter::default() }).await?;
        Ok(events.last().map(|event| event.position).map(|to| (events, to)))
    }

    fn wants(&self, event: &RecordedEvent) -> bool {
        self.manifest.aggregate(&event.stream.aggregate).is_some() && self.projection.wants(&event.event_type)
    }

    fn add_changes(&self, event: RecordedEvent, all: &mut Vec<Change>) -> anyhow::Result<()> {
        let position = event.position;
        let mut changes = Changes::default();
        Files::project(&as_the_plugin_sees_it(event)?, &mut changes)
            .with_context(|| format!("the event at position {position}"))?;
        for change in changes.0 {
            all.push(self.change(change)?);
        }
        Ok(())
    }

    /// A change in the store's form.
    fn change(&self, change: cqrs::Change) -> anyhow::Result<Change> {
        let table = |name| self.projection.table(name).with_context(|| format!("no table `{name}`"));
        Ok(match change {
            cqrs::Change::Put { table: name, row } => {
                Change::Put { table: table(name)?.name.clone(), row: values(row) }
            }
            cqrs::Change::Remove { table: name, key } => {
                Change::Remove { table: table(name)?.name.clone(), key: values(key) }
            }
            cqrs::Change::Run(call) => {
                let statement = self.projection.statement(call.statement);
                let statement = statement.with_context(|| format!("no statement `{}`", call.statement))?;
                Change::Run(Call { statement: statement.name.clone(), params: values(call.params) })
            }
        })
    }
}

async fn sums_of_the_last(model: ReadModel) -> anyhow::Result<Sums> {
    let sums = model.checksum().await?;
    model.remove().await?;
    Ok(sums)
}

/// What of the metadata a projection sees.
#[derive(Deserialize)]
struct Head {
    actor: Uuid,
    occurred_at: Timestamp,
}

fn as_the_plugin_sees_it(event: RecordedEvent) -> anyhow::Result<events::RecordedEvent> {
    let head: Head = serde_json::from_str(&event.metadata)?;
    let stream = match &*event.stream.aggregate {
        File::NAME => shared::StreamRef::of::<File>(event.stream.id),
        Folder::NAME => shared::StreamRef::of::<Folder>(event.stream.id),
        other => bail!("`{other}` is no aggregate of the plugin"),
    };
    Ok(events::RecordedEvent {
        position: event.position,
        stream,
        version: event.version,
        event_type: event.event_type.to_string(),
        schema_version: event.schema_version,
        data: event.data.into_bytes(),
        occurred_at: shared::Timestamp::from_micros(head.occurred_at.micros()),
        actor: head.actor,
    })
}

fn values(values: Vec<shared::Value>) -> Vec<Value> {
    let value = |value| match value {
        shared::Value::Null => Value::Null,
        shared::Value::Text(text) => Value::Text(text),
        shared::Value::Integer(number) => Value::Integer(number),
        shared::Value::Real(number) => Value::Real(number),
        shared::Value::Boolean(yes) => Value::Boolean(yes),
        shared::Value::Timestamp(time) => Value::Timestamp(Timestamp::from_micros(time.micros())),
    };
    values.into_iter().map(value).collect()
}

/// So many events since then, for each second.
pub fn per_second(events: Position, since: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of events is far below 2^52")]
    let events = events as f64;
    events / since.elapsed().as_secs_f64()
}
