//! Wake-ups between hosts, over Redis' pub/sub: `<log id>/<position>` on the channel `{cairn}:head`.
//!
//! Three things go on side by side: telling the others, listening to them, and asking everybody in this process to look at the
//! log from time to time, because messages get lost and Redis may be away.

use std::time::Duration;

use cairn_model::Position;
use futures_util::StreamExt;
use redis::aio::PubSubStream;
use redis::{Client, RedisError, RedisResult};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::bus::News;
use crate::connection::{self, Link};
use crate::error::Error;
use crate::keys::Keys;
use crate::options::RedisOptions;

/// A listener that heard nothing for this long asks whether the connection still stands.
const SILENCE: Duration = Duration::from_secs(10);

/// Exchanges hints with the other hosts until it is dropped.
pub(crate) fn exchange(
    options: &RedisOptions,
    log_id: Uuid,
    news: watch::Sender<News>,
) -> Result<impl Future<Output = ()> + Send + use<>, Error> {
    let client = connection::client(options)?;
    let options = options.clone();
    let keys = Keys::new(&options.namespace, log_id);
    Ok(async move {
        let link = Link::keep(client.clone(), &options, options.command_timeout(), 1);
        let listener = Listener {
            client,
            channel: keys.head.clone(),
            log_id,
            news: news.clone(),
            options: options.clone(),
        };
        tokio::join!(
            tell(link, keys.head, log_id, news.subscribe()),
            listener.listen(),
            call(news, options.look_every()),
        );
    })
}

/// Tells the others the newest position of this process, as often as Redis can take it.
async fn tell(link: Link, channel: String, log_id: Uuid, mut news: watch::Receiver<News>) {
    let mut told: Position = 0;
    loop {
        let Ok(newest) = news.wait_for(|news| news.known() > told).await.map(|news| news.known()) else {
            return;
        };
        let Some(mut connection) = link.wait().await else { return };
        let message = format!("{log_id}/{newest}");
        let answer: RedisResult<u64> =
            redis::cmd("PUBLISH").arg(&channel).arg(message).query_async(&mut connection).await;
        match answer {
            Ok(_) => {
                link.worked();
                told = newest;
            }
            Err(error) => {
                link.failed(&error);
                if !error.is_unrecoverable_error() {
                    // Redis answers and refuses (loading, no permission): this hint is lost, the next one tries again.
                    tracing::debug!(%error, "other hosts were not told of new events");
                    told = newest;
                }
            }
        }
    }
}

/// Asks everybody to look.
async fn call(news: watch::Sender<News>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        news.send_modify(News::call);
    }
}

struct Listener {
    client: Client,
    channel: String,
    log_id: Uuid,
    news: watch::Sender<News>,
    options: RedisOptions,
}

impl Listener {
    async fn listen(self) {
        let mut backoff = Backoff::new(self.options.retry_max());
        loop {
            match self.subscribe().await {
                Ok((sink, stream)) => {
                    backoff.reset();
                    // What was said meanwhile is not known.
                    self.news.send_modify(News::call);
                    self.hear(sink, stream).await;
                }
                Err(error) => tracing::debug!(%error, "wake-ups of other hosts are not heard"),
            }
            backoff.pause().await;
        }
    }

    async fn subscribe(&self) -> RedisResult<(redis::aio::PubSubSink, PubSubStream)> {
        let limit = self.options.connect_timeout();
        let connecting = async {
            let (mut sink, stream) = self.client.get_async_pubsub().await?.split();
            sink.subscribe(&self.channel).await?;
            Ok((sink, stream))
        };
        timeout(limit, connecting)
            .await
            .unwrap_or_else(|late| Err(RedisError::from(std::io::Error::from(late))))
    }

    /// Until the connection is gone.
    async fn hear(&self, mut sink: redis::aio::PubSubSink, mut stream: PubSubStream) {
        loop {
            match timeout(SILENCE, stream.next()).await {
                Ok(Some(message)) => self.heard(message.get_payload_bytes()),
                Ok(None) => return,
                Err(_) => {
                    let answer = timeout(self.options.command_timeout(), sink.ping::<redis::Value>()).await;
                    if !matches!(answer, Ok(Ok(_))) {
                        return;
                    }
                }
            }
        }
    }

    /// Messages of other logs, and what is no message, are nothing to us.
    fn heard(&self, message: &[u8]) {
        if let Some(position) = parse(message, self.log_id) {
            self.news.send_modify(|news| news.rumour(position));
        }
    }
}

fn parse(message: &[u8], log_id: Uuid) -> Option<Position> {
    let (log, position) = std::str::from_utf8(message).ok()?.split_once('/')?;
    if Uuid::try_parse(log).ok()? != log_id {
        return None;
    }
    position.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_of_this_log_are_understood() {
        let log = Uuid::from_u128(1);
        assert_eq!(parse(format!("{log}/7").as_bytes(), log), Some(7));
        assert_eq!(parse(format!("{log}/7").as_bytes(), Uuid::from_u128(2)), None);
        for garbage in ["", "/", "7", "x/7", &format!("{log}/-7"), &format!("{log}/99999999999999999999999")]
        {
            assert_eq!(parse(garbage.as_bytes(), log), None, "{garbage}");
        }
        assert_eq!(parse(&[0xff, b'/'], log), None);
    }
}
