//! Escapes text for HTML. Pure, any thread.

/// Escapes text for HTML and XML: for the content of an element, or for the value of an attribute in single or double
/// quotes (like Tornado's function of this name). Escape all client input before it goes into a page.
///
/// ```
/// use threadcast::xhtml_escape;
///
/// let name = "<script>alert('me')</script>";
/// assert_eq!(xhtml_escape(name), "&lt;script&gt;alert(&#x27;me&#x27;)&lt;/script&gt;");
/// ```
pub fn xhtml_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#x27;"),
            c => escaped.push(c),
        }
    }
    escaped
}
