//! Swagger UI, from the binary: a page for making tokens in a browser. It loads nothing from
//! another host, which its Content-Security-Policy enforces.
//!
//! Its links are relative: the page works under any mount, behind a proxy that cuts off a prefix,
//! and with or without the slash at its end.

use bytes::Bytes;

use super::face::Document;

/// The page runs, shows and connects to what comes from keyward only (CSP Level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' \
                      data:; connect-src 'self'; font-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

const PAGE: &str = include_str!("docs/index.html");

/// A file of Swagger UI, which build.rs has unpacked.
macro_rules! swagger_ui {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui/", $name))
    };
}

/// What the page loads, and the terms of its licence.
const ASSETS: [(&str, &str, &[u8]); 6] = [
    ("swagger-initializer.js", SCRIPT, include_bytes!("docs/swagger-initializer.js")),
    ("swagger-ui-bundle.js", SCRIPT, swagger_ui!("swagger-ui-bundle.js")),
    ("swagger-ui.css", "text/css; charset=utf-8", swagger_ui!("swagger-ui.css")),
    ("favicon-32x32.png", "image/png", swagger_ui!("favicon-32x32.png")),
    ("LICENSE", TEXT, swagger_ui!("LICENSE")),
    ("NOTICE", TEXT, swagger_ui!("NOTICE")),
];

/// The pages below a mount: `/openapi.json`, and `/docs` with what it loads.
pub(super) fn documents(mount: &str, openapi: &Bytes) -> Vec<Document> {
    let page = |path: &str, folder: &str| {
        let body = PAGE.replace("{folder}", folder);
        Document { policy: Some(POLICY), ..Document::new(format!("{mount}{path}"), HTML, body) }
    };
    let mut documents = vec![
        Document::new(format!("{mount}/openapi.json"), "application/json", openapi.clone()),
        page("/docs", "docs/"),
        page("/docs/", ""),
    ];
    let assets = ASSETS.map(|(name, media_type, body)| {
        Document::new(format!("{mount}/docs/{name}"), media_type, Bytes::from_static(body))
    });
    documents.extend(assets);
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_only_what_lies_beside_it() {
        let documents = documents("/{organization}/x", &Bytes::from_static(b"{}"));
        let paths: Vec<_> = documents.iter().map(|document| document.path.as_str()).collect();
        for (at, base) in [(1, "/{organization}/x/"), (2, "/{organization}/x/docs/")] {
            let body = String::from_utf8(documents[at].body.to_vec()).expect("text");
            let named = ["src=\"", "href=\""]
                .map(|mark| body.split(mark).skip(1).collect::<Vec<_>>())
                .concat();
            let named: Vec<_> = named.iter().filter_map(|rest| rest.split('"').next()).collect();
            assert_eq!(named.len(), 4, "{body}");
            for name in named {
                assert!(paths.contains(&format!("{base}{name}").as_str()), "{base}{name}");
            }
            assert!(!body.contains("<style") && !body.contains("{folder}"), "{body}");
        }
    }

    #[test]
    fn the_assets_are_whole() {
        for (name, _, body) in ASSETS {
            assert!(body.len() > 50, "{name}");
        }
        let script =
            ASSETS.iter().find(|(name, ..)| *name == "swagger-ui-bundle.js").expect("it is there");
        assert!(script.2.windows(15).any(|window| window == b"SwaggerUIBundle"));
    }
}
