//! The requests: built once for each connection, then only ids and names are overwritten in place.

use std::io::Write;
use std::rc::Rc;

use cairn_model::Clock;
use uuid::Uuid;

/// How many digits a name has. It is hexadecimal, so no name is longer or shorter than another.
const NAME_DIGITS: usize = 24;
/// The length of a UUID as text.
const ID_DIGITS: usize = 36;

/// What the requests of a run do. Connections take turns: of `n` connections the first one takes every `n`th item.
#[derive(Clone, Debug)]
pub enum Plan {
    /// New files under new ids, in these folders by turns; at the root where there are none.
    Create {
        /// The folders.
        parents: Rc<[Uuid]>,
    },
    /// Files under these ids.
    CreateThese {
        /// The files' ids.
        ids: Rc<[Uuid]>,
        /// The folders, by turns.
        parents: Rc<[Uuid]>,
    },
    /// A new name for each of these files, round and round.
    Rename {
        /// The files' ids.
        ids: Rc<[Uuid]>,
    },
}

/// What makes the ids and names of one run differ from those of all others.
#[derive(Clone, Copy, Debug)]
pub struct Salt(u64);

impl Salt {
    /// A new one.
    pub fn new() -> Self {
        Self(Clock::System.now().micros().unsigned_abs())
    }
}

/// The requests of one connection.
pub struct Requests {
    plan: Plan,
    salt: Salt,
    bytes: Vec<u8>,
    id_at: usize,
    name_at: usize,
    parent_at: Option<usize>,
    /// Which item is next, over all connections.
    item: usize,
    /// How many connections there are.
    step: usize,
}

impl Requests {
    /// The requests of connection `number` of `connections`.
    pub fn new(plan: Plan, salt: Salt, key: &str, number: usize, connections: usize) -> Self {
        let (command, parent) = match &plan {
            Plan::Create { parents } | Plan::CreateThese { parents, .. } => ("create", !parents.is_empty()),
            Plan::Rename { .. } => ("rename", false),
        };
        let name = "0".repeat(NAME_DIGITS);
        let parent_part = if parent { format!(",\"parent_id\":\"{}\"", Uuid::nil()) } else { String::new() };
        let body = format!("{{\"name\":\"{name}\"{parent_part}}}");
        let path_start = "POST /v1/aggregates/file/";
        let head = format!(
            "{path_start}{}/{command} HTTP/1.1\r\nHost: cairn\r\nAuthorization: Bearer {key}\r\nContent-Type: \
             application/json\r\nContent-Length: {}\r\n\r\n",
            Uuid::nil(),
            body.len()
        );
        let name_at = head.len() + "{\"name\":\"".len();
        Self {
            plan,
            salt,
            id_at: path_start.len(),
            name_at,
            parent_at: parent.then(|| name_at + NAME_DIGITS + "\",\"parent_id\":\"".len()),
            bytes: [head, body].concat().into_bytes(),
            item: number,
            step: connections,
        }
    }

    /// The next request; `None` when all of `count` items, or all there are, have had their turn.
    pub fn next(&mut self, count: Option<usize>) -> Option<&[u8]> {
        let item = self.item;
        if count.is_some_and(|count| item >= count) {
            return None;
        }
        let (id, parents) = match &self.plan {
            Plan::Create { parents } => (self.new_id(), Some(parents)),
            Plan::CreateThese { ids, parents } => (*ids.get(item)?, Some(parents)),
            Plan::Rename { ids } => (*ids.get(item % ids.len().max(1))?, None),
        };
        let parent =
            parents.filter(|parents| !parents.is_empty()).map(|parents| parents[item % parents.len()]);
        self.item += self.step;
        id.hyphenated().encode_lower(&mut self.bytes[self.id_at..self.id_at + ID_DIGITS]);
        if let (Some(at), Some(parent)) = (self.parent_at, parent) {
            parent.hyphenated().encode_lower(&mut self.bytes[at..at + ID_DIGITS]);
        }
        let mut name = &mut self.bytes[self.name_at..self.name_at + NAME_DIGITS];
        // A slice of 24 bytes takes 24 digits.
        let _ = write!(name, "{:013x}{:011x}", self.salt.0, item);
        Some(&self.bytes)
    }

    fn new_id(&self) -> Uuid {
        uuid::Builder::from_u128(u128::from(self.salt.0) << 64 | self.item as u128)
            .with_variant(uuid::Variant::RFC4122)
            .with_version(uuid::Version::Custom)
            .into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(requests: &mut Requests, count: Option<usize>) -> Option<String> {
        requests.next(count).map(|bytes| String::from_utf8(bytes.to_vec()).expect("text"))
    }

    #[test]
    fn a_request_is_whole_and_no_two_are_alike() {
        let parent = Uuid::from_u128(7);
        let plan = Plan::Create { parents: [parent].into() };
        let mut requests = Requests::new(plan, Salt(1), "k", 0, 2);
        let (first, second) =
            (text(&mut requests, None).expect("one"), text(&mut requests, None).expect("two"));
        assert_ne!(first, second);
        let (head, body) = first.split_once("\r\n\r\n").expect("head and body");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["parent_id"], parent.to_string());
        assert_eq!(body["name"].as_str().map(str::len), Some(NAME_DIGITS));
    }

    #[test]
    fn connections_share_the_items() {
        let ids: Rc<[Uuid]> = (0..5).map(Uuid::from_u128).collect();
        let plan = Plan::CreateThese { ids, parents: [].into() };
        let mut counts = [0, 0];
        for (number, count) in counts.iter_mut().enumerate() {
            let mut requests = Requests::new(plan.clone(), Salt(1), "k", number, 2);
            while requests.next(None).is_some() {
                *count += 1;
            }
        }
        assert_eq!(counts, [3, 2]);
        let mut renames = Requests::new(Plan::Rename { ids: [Uuid::nil()].into() }, Salt(1), "k", 0, 1);
        assert!((0..9).all(|_| renames.next(Some(9)).is_some()));
        assert!(renames.next(Some(9)).is_none());
    }
}
