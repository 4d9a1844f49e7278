//! Patterns of names, of model ids first of all: `*` is any run of characters, everything else is itself, letter case aside.

/// Whether `text` fits `pattern`. Linear in practice: only the last `*` is ever retried.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut retry = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p + 1, t));
            p += 1;
        } else if pattern.get(p).is_some_and(|byte| byte.eq_ignore_ascii_case(&text[t])) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((after_star, from)) = retry {
            retry = Some((after_star, from + 1));
            (p, t) = (after_star, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_run_and_nothing_else_is_special() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("*claude*", "anthropic.claude-opus-5", true),
            ("anthropic.claude-*-5", "anthropic.claude-opus-5", true),
            ("anthropic.claude-*-5", "anthropic.claude-opus-5-5", true),
            ("anthropic.claude-*-5", "anthropic.claude-opus-4-6", false),
            ("qwen.*", "qwen", false),
            ("QWEN.*", "qwen.x", true),
            ("a.b", "axb", false),
            ("", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("****", "x", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
