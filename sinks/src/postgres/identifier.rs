//! Names in SQL.

/// The name of a table, perhaps with its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableName {
    schema: Option<String>,
    name: String,
}

impl TableName {
    /// Reads `orders`, `shop.orders`, `shop."odd.name"`.
    ///
    /// # Errors
    /// What is wrong with the text, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no name of a table.");
        let mut parts = split(text).ok_or_else(wrong)?;
        let name = parts.pop().ok_or_else(wrong)?;
        let schema = parts.pop();
        let usable = |part: &String| !part.is_empty() && !part.contains('\0');
        let good = parts.is_empty() && usable(&name) && schema.iter().all(usable);
        good.then_some(Self { schema, name }).ok_or_else(wrong)
    }

    /// The name as SQL has it, quoted.
    pub fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(&self.name)),
            None => quoted(&self.name),
        }
    }

    /// The name of another table in the same schema.
    pub fn beside(&self, suffix: &str) -> Self {
        Self { schema: self.schema.clone(), name: format!("{}{suffix}", self.name) }
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.schema.iter().try_for_each(|schema| write!(f, "{schema}."))?;
        f.write_str(&self.name)
    }
}

/// The parts between dots that stand outside of quotes.
fn split(text: &str) -> Option<Vec<String>> {
    let (mut parts, mut part, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut characters = text.trim().chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.next_if_eq(&'"').is_some() => part.push('"'),
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => parts.push(std::mem::take(&mut part)),
            other => part.push(other),
        }
    }
    parts.push(part);
    (!is_quoted).then_some(parts)
}

/// A name as SQL has it: exactly this one, whatever it holds.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL has it, with `standard_conforming_strings`.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_whatever_it_holds() {
        let sql = |text: &str| TableName::parse(text).map(|name| name.sql());
        assert_eq!(sql("orders"), Ok("\"orders\"".to_owned()));
        assert_eq!(sql("Shop.Orders"), Ok("\"Shop\".\"Orders\"".to_owned()));
        assert_eq!(sql("a.\"b.c\"\"d\""), Ok("\"a\".\"b.c\"\"d\"".to_owned()));
        assert_eq!(sql("x\";drop"), Err("`x\";drop` is no name of a table.".to_owned()));
        assert_eq!(quoted("a\"; drop table b; --"), "\"a\"\"; drop table b; --\"");
        for wrong in ["", ".", "a.", "a.b.c", "\"a", "a..b"] {
            assert!(sql(wrong).is_err(), "{wrong}");
        }
        assert_eq!(TableName::parse("a.b").unwrap().beside("_c").to_string(), "a.b_c");
        assert_eq!(literal("it's"), "'it''s'");
    }
}
