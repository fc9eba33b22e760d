//! Texts of users and services (names, error messages, log lines) made harmless for each format.

/// For element content and quoted attributes of HTML and SVG. Control characters are no legal XML and are dropped.
pub(crate) fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(letter),
            control if control.is_control() => {}
            plain => out.push(plain),
        }
    }
    out
}

/// For a table cell or a line of Markdown.
pub(crate) fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\r' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '|' | '*' | '_' | '`' | '[' | ']' | '#' => {
                out.push('\\');
                out.push(letter);
            }
            plain => out.push(plain),
        }
    }
    out
}

/// A field of RFC 4180, quoted where needed; never a formula for a spreadsheet.
pub(crate) fn csv(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '@', '\t', '\r']) || (text.starts_with('-') && text.parse::<f64>().is_err());
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_lose_their_power() {
        assert_eq!(xml("<script>alert('x')</script>\u{0}&"), "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;");
        assert_eq!(markdown("a|b\n*c* <i>"), "a\\|b \\*c\\* &lt;i>");
        assert_eq!(csv("=cmd()"), "'=cmd()");
        assert_eq!(csv("-1.5"), "-1.5");
        assert_eq!(csv("say \"hi\", please"), "\"say \"\"hi\"\", please\"");
    }
}
