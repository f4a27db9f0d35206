//! Where in a statement's text the host puts its relation. The text itself is left as it was written: what SQLite says about
//! it can then be found in the manifest.

use sqlparser::dialect::SQLiteDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, Tokenizer};

use crate::read_model::check::Complaint;

/// Where the host's relation goes: behind the statement's own `WITH`, or in front of everything.
pub(in crate::read_model) fn place(sql: &str) -> Result<(String, usize, bool), Complaint> {
    let dialect = SQLiteDialect {};
    let tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|error| Complaint::whole(error.to_string()))?;
    let mut words = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    let end = words.clone().next_back().filter(|last| last.token == Token::SemiColon);
    let text = end.map_or(sql, |semicolon| &sql[..offset(sql, semicolon.span.start)]).to_owned();
    let is = |token: &Token, wanted: Keyword| matches!(token, Token::Word(word) if word.keyword == wanted);
    let Some(first) = words.next() else { return Err(Complaint::whole("it is empty")) };
    if !is(&first.token, Keyword::WITH) {
        return Ok((text, offset(sql, first.span.start), false));
    }
    let last = words.next().filter(|second| is(&second.token, Keyword::RECURSIVE)).unwrap_or(first);
    Ok((text, offset(sql, last.span.end), true))
}

/// Where a line and a column are, in bytes.
fn offset(sql: &str, at: Location) -> usize {
    let (mut line, mut column) = (1, 1);
    for (index, letter) in sql.char_indices() {
        if (line, column) == (at.line, at.column) {
            return index;
        }
        if letter == '\n' {
            (line, column) = (line + 1, 1);
        } else {
            column += 1;
        }
    }
    sql.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_behind_a_with_or_in_front_of_everything() {
        let cases = [
            ("SELECT 1", "", "SELECT 1", false),
            (
                "  -- why, with a reason\n  SELECT 'ä; WITH' ;\n",
                "  -- why, with a reason\n  ",
                "SELECT 'ä; WITH' ",
                false,
            ),
            ("/* ä */ WITH x AS (SELECT 1) SELECT 1", "/* ä */ WITH", " x AS (SELECT 1) SELECT 1", true),
            (
                "with\n recursive x AS (SELECT 1) SELECT 1",
                "with\n recursive",
                " x AS (SELECT 1) SELECT 1",
                true,
            ),
        ];
        for (sql, before, behind, has_with) in cases {
            let (text, at, with) = place(sql).expect("a place");
            assert_eq!((&text[..at], &text[at..], with), (before, behind, has_with), "{sql}");
        }
    }
}
