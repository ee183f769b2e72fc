//! Rows as people and programs like them: aligned columns, JSON or YAML.

use std::io::Write;

use serde::Serialize;

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Columns.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// One JSON array.
    Json,
    /// The same as YAML.
    Yaml,
}

/// One kind of row.
pub(crate) trait Row: Serialize {
    /// Headings of the columns.
    const COLUMNS: &'static [&'static str];
    /// Headings of further columns in wide output.
    const WIDE_COLUMNS: &'static [&'static str] = &[];

    /// The cells under both kinds of headings, in their order.
    fn cells(&self) -> Vec<String>;
}

/// Renders rows.
pub(crate) fn print<R: Row>(rows: &[R], format: Format) -> anyhow::Result<String> {
    match format {
        Format::Json => Ok(serde_json::to_string_pretty(rows)? + "\n"),
        Format::Yaml => Ok(serde_saphyr::to_string(&rows)?),
        Format::Table => Ok(columns(R::COLUMNS, rows)),
        Format::Wide => Ok(columns(&[R::COLUMNS, R::WIDE_COLUMNS].concat(), rows)),
    }
}

/// Puts text out; false when nobody reads it any more.
pub(crate) fn say(to: &mut impl Write, text: &str) -> anyhow::Result<bool> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Ok(()) => Ok(true),
        // Whoever reads may have seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn columns<R: Row>(headings: &[&str], rows: &[R]) -> String {
    let mut lines: Vec<Vec<String>> = vec![headings.iter().map(ToString::to_string).collect()];
    lines.extend(rows.iter().map(|row| row.cells().into_iter().take(headings.len()).collect()));
    align(&lines)
}

/// Cells under each other, three spaces between columns, as kubectl prints them.
pub(crate) fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let mut rendered = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            rendered.push_str(cell);
            let padding = width - cell.chars().count() + 3;
            rendered.extend(std::iter::repeat_n(' ', padding));
        }
        text.push_str(rendered.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Pet {
        name: &'static str,
        legs: u32,
    }

    impl Row for Pet {
        const COLUMNS: &'static [&'static str] = &["NAME"];
        const WIDE_COLUMNS: &'static [&'static str] = &["LEGS"];

        fn cells(&self) -> Vec<String> {
            vec![self.name.into(), self.legs.to_string()]
        }
    }

    #[test]
    fn every_format_has_the_same_rows() {
        let pets = [Pet { name: "tortoise", legs: 4 }, Pet { name: "hen", legs: 2 }];
        let print = |format| print(&pets, format).expect("printed");
        assert_eq!(print(Format::Table), "NAME\ntortoise\nhen\n");
        assert_eq!(print(Format::Wide), "NAME       LEGS\ntortoise   4\nhen        2\n");
        assert!(print(Format::Json).contains("\"legs\": 2"));
        assert!(print(Format::Yaml).contains("legs: 2"));
    }
}
