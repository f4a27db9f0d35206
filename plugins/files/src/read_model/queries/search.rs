//! `search`: items by a part of their names.

use cairn_sdk::prelude::*;

use super::super::item::{ItemView, Page, after_name, default_limit, rows_for};
use super::super::sql::SEARCH;
use crate::domain::sort_key;
use crate::read_model::Files;

/// The longest text to search for, in bytes.
const TEXT_LIMIT_BYTES: usize = 255;

/// Files and folders whose names contain a text, whatever its case, sorted by name.
#[derive(Query, Debug, Deserialize, JsonSchema)]
#[query(name = "search", response = Page<ItemView>)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// The text.
    #[schemars(length(min = 1, max = 255))]
    pub q: String,
    /// The most items to answer.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: u32,
    /// `next` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// A pattern for LIKE that finds the text anywhere.
fn pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for letter in sort_key(text).chars() {
        if matches!(letter, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

impl QueryHandler<Search> for Files {
    fn handle(query: &Search, _: &Context, db: &Db) -> Result<Page<ItemView>> {
        if !(1..=TEXT_LIMIT_BYTES).contains(&query.q.len()) {
            return Err(Rejection::invalid_field("/q", "a text to search for has 1 to 255 bytes").into());
        }
        let most = rows_for(query.limit)?;
        let (after_key, after_id) = after_name(query.cursor.as_deref())?;
        let rows = db.select(&SEARCH, [pattern(&query.q).into(), after_key.into(), after_id.into(), most])?;
        Ok(Page::cut_by_name(rows.read(ItemView::read)?, query.limit)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_like_takes_for_a_wildcard_is_escaped() {
        assert_eq!(pattern("50%_Off!"), "%50!%!_off!!%");
    }
}
