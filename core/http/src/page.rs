//! The page to try a server with.

/// A file of the page.
#[derive(Debug, PartialEq, Eq)]
pub struct PageFile {
    /// The path at which it is served.
    pub path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($path:literal $content_type:ident $file:literal,)*) => {
        &[$(PageFile {
            path: $path,
            content_type: $content_type,
            text: include_str!(concat!("../page/", $file)),
        }),*]
    };
}

/// All files of the page, the document first. Scripts import the client from `/client.js`.
const FILES: &[PageFile] = files! {
    "/" HTML "index.html",
    "/page/page.css" CSS "page.css",
    "/page/lane.css" CSS "lane.css",
    "/page/theme.js" SCRIPT "theme.js",
    "/page/page.js" SCRIPT "page.js",
    "/page/shared.js" SCRIPT "shared.js",
    "/page/lane.js" SCRIPT "lane.js",
    "/page/line.js" SCRIPT "line.js",
    "/page/membership.js" SCRIPT "membership.js",
    "/page/identity.js" SCRIPT "identity.js",
    "/page/frames.js" SCRIPT "frames.js",
    "/page/frame-log.js" SCRIPT "frame-log.js",
    "/page/json.js" SCRIPT "json.js",
    "/page/deliveries.js" SCRIPT "deliveries.js",
    "/page/live-rooms.js" SCRIPT "live-rooms.js",
    "/page/steps.js" SCRIPT "steps.js",
    "/page/session/clients.js" SCRIPT "session/clients.js",
    "/page/session/record.js" SCRIPT "session/record.js",
    "/page/session/trace.js" SCRIPT "session/trace.js",
    "/page/view/messages.js" SCRIPT "view/messages.js",
    "/page/view/server.js" SCRIPT "view/server.js",
    "/page/view/tabs.js" SCRIPT "view/tabs.js",
};

impl PageFile {
    /// The file at a path.
    pub(crate) fn at(path: &str) -> Option<&'static Self> {
        FILES.iter().find(|file| file.path == path)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{borrow::ToOwned, format, vec};

    use super::*;

    /// The quoted paths of a text that begin with one of these.
    fn named<'t>(text: &'t str, before: &'t str) -> impl Iterator<Item = &'t str> {
        let parts = text.split(before).skip(1);
        parts.map(|rest| rest.split('"').next().unwrap_or_default())
    }

    #[test]
    fn every_file_that_the_page_names_is_served() {
        let mut used = vec!["/".to_owned()];
        for file in FILES {
            let (folder, _) = file.path.rsplit_once('/').unwrap_or_default();
            used.extend(named(file.text, "from \"./").map(|name| format!("{folder}/{name}")));
            used.extend(named(file.text, "=\"page/").map(|name| format!("/page/{name}")));
        }
        for path in &used {
            assert!(PageFile::at(path).is_some(), "{path} is not served");
        }
        for file in FILES {
            assert!(
                used.iter().any(|path| path == file.path),
                "{} is not used",
                file.path
            );
        }
    }

    #[test]
    fn no_file_has_what_its_policy_forbids() {
        for file in FILES {
            for inline in ["<style", " style=\"", "<script>", " onclick=", "innerHTML"] {
                assert!(!file.text.contains(inline), "{inline} in {}", file.path);
            }
        }
    }
}
