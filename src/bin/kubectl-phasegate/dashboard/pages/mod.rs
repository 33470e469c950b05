//! The pages, and what surrounds each of them.
//!
//! **Architecture invariant**: a page is a function of plain data and the current time. Every text of others is
//! escaped by the template, after [`words`] has removed what is hidden in it.

pub mod actions;
pub mod causes;
pub mod fleet;
pub mod gateway;
pub mod hosts;
mod timeline;

use k8s_openapi::jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use phasegate::shown;

use crate::failure::Failure;
use crate::output::Style;
use crate::terminal::LONGEST;
use crate::times;

/// The navigation's entry of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    /// The fleet.
    Fleet,
    /// One gateway.
    Gateway,
    /// Causes over time.
    Causes,
    /// Hosts.
    Hosts,
    /// A page without an entry.
    None,
}

/// What surrounds a page.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The current entry.
    pub tab: Tab,
    /// The API server's address.
    pub server: String,
    /// The namespaces that are shown.
    pub place: String,
    /// Whether actions are refused.
    pub read_only: bool,
    /// Why the API server is unreachable, if it is.
    pub trouble: Option<String>,
    /// The hidden field of the forms.
    pub form_token: String,
}

/// A whole page. `live` is the query of its events from the server, if it has any.
pub fn whole(frame: &Frame, title: &str, live: Option<&str>, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (words(title)) " · phasegate" }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/dashboard.css";
                script src="/dashboard.js" defer {}
            }
            body data-live-query=[live] {
                a.skip href="#content" { "Skip to content" }
                header.top {
                    a.brand href="/" { "phasegate" }
                    nav aria-label="Pages" {
                        @for (tab, name, link) in
                            [(Tab::Fleet, "Fleet", "/"), (Tab::Causes, "Causes", "/causes"), (Tab::Hosts, "Hosts", "/hosts")]
                        {
                            a href=(link) aria-current=[(frame.tab == tab).then_some("page")] { (name) }
                        }
                    }
                    p.where {
                        @if frame.read_only { span.tag { "read-only" } " " }
                        span.server { (words(&frame.server)) " · " } (words(&frame.place))
                    }
                }
                div #banner data-live role="status" {
                    @if let Some(trouble) = &frame.trouble {
                        p.banner {
                            strong { "The API server is unreachable. " }
                            "The page shows the last known state and updates when the server answers. "
                            span.faint { (words(trouble)) }
                        }
                    }
                }
                main #content tabindex="-1" { (content) }
            }
        }
    }
}

/// A page with a failure.
pub fn message(frame: &Frame, failure: &Failure) -> Markup {
    let content = html! {
        h1 { "This did not work" }
        p.verdict.bad { (words(&failure.sentence)) }
        p { (words(&failure.advice)) }
        p { a href="/" { "Fleet" } }
    };
    whole(frame, "Failure", None, &content)
}

/// Others' words, bounded and without hidden characters. The template escapes them.
pub fn words(text: &str) -> String {
    shown::cut(&shown::piece(text), LONGEST).into_owned()
}

/// The class of a style.
pub fn class(style: Style) -> &'static str {
    match style {
        Style::Good => "good",
        Style::Busy => "busy",
        Style::Bad => "bad",
        Style::Faint => "faint",
        Style::Plain | Style::Title => "plain",
    }
}

/// The symbol of a style, so that colour is not all that tells it.
pub fn symbol(style: Style) -> &'static str {
    match style {
        Style::Good => "✔",
        Style::Busy => "◌",
        Style::Bad => "✖",
        _ => "–",
    }
}

/// A state with its symbol.
pub fn badge(text: &str, style: Style) -> Markup {
    html! { span.badge.(class(style)) { span aria-hidden="true" { (symbol(style)) } " " (words(text)) } }
}

/// The time since a moment. Its title is the moment, in the reader's zone if there is JavaScript.
pub fn age(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) title=(utc(at)) { (times::age(times::since(at, now))) } }
}

/// A moment, in the reader's zone if there is JavaScript.
pub fn moment(at: Timestamp) -> Markup {
    html! { time.moment datetime=(at) { (utc(at)) } }
}

fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The address of a gateway's page.
pub fn link(namespace: &str, name: &str) -> String {
    let part = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    format!("/gateways/{}/{}", part(namespace), part(name))
}

/// Links to the previous and the next page of rows.
pub fn pager(page: usize, rows: usize, all: usize, to: impl Fn(usize) -> String) -> Markup {
    let pages = all.div_ceil(rows).max(1);
    html! {
        @if pages > 1 {
            nav.pager aria-label="Pages of rows" {
                @if page > 0 { a href=(to(page.min(pages) - 1)) rel="prev" { "← Previous" } }
                span { "Page " (page + 1) " of " (pages) }
                @if page + 1 < pages { a href=(to(page + 1)) rel="next" { "Next →" } }
            }
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The frame of the tests.
    pub fn frame() -> Frame {
        Frame {
            tab: Tab::Fleet,
            server: "https://api/".to_owned(),
            place: "all namespaces".to_owned(),
            read_only: false,
            trouble: None,
            form_token: "form".to_owned(),
        }
    }

    #[test]
    fn an_outage_is_a_banner_above_the_page() {
        let content = html! { p { "rows" } };
        let frame = Frame { trouble: Some("<b>down".to_owned()), ..frame() };
        let page = whole(&frame, "Fleet", None, &content).into_string();
        assert!(page.contains("The API server is unreachable") && page.contains("&lt;b&gt;down"), "{page}");
        assert!(page.contains("<p>rows</p>"), "{page}");
    }

    #[test]
    fn a_name_never_leaves_its_place_in_a_link() {
        assert_eq!(link("a/../b", "c?d#e f"), "/gateways/a%2F..%2Fb/c%3Fd%23e%20f");
    }

    #[test]
    fn rows_have_pages() {
        let pager = |page, all| pager(page, 100, all, |page| format!("/{page}")).into_string();
        assert_eq!(pager(0, 100), "");
        assert!(pager(0, 101).contains("Page 1 of 2") && !pager(0, 101).contains("Previous"));
        assert!(pager(1, 101).contains("href=\"/0\"") && !pager(1, 101).contains("Next"));
        assert!(pager(9, 101).contains("href=\"/1\""));
    }
}
