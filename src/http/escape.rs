//! Text becomes HTML. Pure, any thread.

/// Escapes text for HTML and XML: as the content of an element, or as the value of an attribute in quotes of either
/// kind (Tornado's function of the same name). What a client has sent goes into a page only like this.
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
