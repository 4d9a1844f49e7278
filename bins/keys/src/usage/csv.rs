//! CSV by RFC 4180, safe to open in a spreadsheet.

/// Lines of cells as text.
pub(super) fn table<I: IntoIterator<Item = String>>(lines: impl IntoIterator<Item = I>) -> String {
    let mut text = String::new();
    for line in lines {
        let cells: Vec<_> = line.into_iter().map(|value| cell(&value)).collect();
        text += &cells.join(",");
        text += "\r\n";
    }
    text
}

/// A spreadsheet runs what begins like a formula, and names come from callers; behind an apostrophe it is text:
/// <https://owasp.org/www-community/attacks/CSV_Injection>. No figure of ours begins so.
fn cell(value: &str) -> String {
    let runs = value.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    // A NUL ends the file for some readers.
    let mut safe = value.replace('\0', "\u{fffd}");
    if runs {
        safe.insert(0, '\'');
    }
    if safe.contains([',', '"', '\r', '\n']) { format!("\"{}\"", safe.replace('"', "\"\"")) } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_like_a_formula_is_text() {
        for (value, written) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\""),
            ("a=b", "a=b"),
            ("2026-11-21", "2026-11-21"),
            ("say \"a, b\"", "\"say \"\"a, b\"\"\""),
            ("a\0b", "a\u{fffd}b"),
            ("", ""),
        ] {
            assert_eq!(cell(value), written);
        }
    }
}
