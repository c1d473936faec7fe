//! Serves the demo shop: static pages, the browser client, and where to post;
//! and beside it what else has a page.

use crate::paths::short_hash;
use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Pages that run the same walk with somebody else's SDK, whose steps all have
/// paths of their own: page, the SDK's script, where its package has that.
const SDKS: [(&str, &str, &str); 2] = [
    (
        "segment",
        "/sdk/segment.js",
        "@segment/analytics-next/dist/umd/index.js",
    ),
    (
        "rudderstack",
        "/sdk/rudderstack.js",
        "@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js",
    ),
];

/// A listening shop; dropping it closes it.
pub struct Shop {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    server: JoinHandle<()>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Files {
    pages: PathBuf,
    client: PathBuf,
    /// Where `tests/sdks/install.sh` puts the SDKs; it may not have.
    packages: PathBuf,
    config: String,
}

impl Shop {
    /// Opens the shop of this checkout, its events going to `api_url`; the SDKs
    /// are looked for in the cache. `beside` has paths of its own, which go first.
    ///
    /// # Errors
    /// If the port is taken, or the checkout has no lock file for the SDKs.
    pub async fn start(
        checkout: &Path,
        cache: &Path,
        port: u16,
        api_url: &str,
        search_url: &str,
        beside: Router,
    ) -> Result<Self> {
        let config =
            serde_json::json!({"endpoint": api_url, "writeKey": "", "search_url": search_url});
        let lock = checkout.join("tests/sdks/package-lock.json");
        let lock = std::fs::read(&lock).with_context(|| lock.display().to_string())?;
        let sdks = format!("sdks-{}/node_modules", short_hash(&lock));
        let files = Files {
            packages: cache.join(sdks),
            pages: checkout.join("demo/shop"),
            client: checkout.join("clients/browser/freshet.js"),
            config: format!("window.FRESHET = {config};\n"),
        };
        let app = Router::new()
            .fallback(serve)
            .with_state(Arc::new(files))
            .merge(beside);
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener
            .with_context(|| format!("port {port} is taken: --shop-port chooses another"))?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { url, server })
    }
}

async fn serve(State(files): State<Arc<Files>>, request: Request) -> Response {
    let path = request.uri().path();
    if path == "/config.js" {
        return (
            [(header::CONTENT_TYPE, "text/javascript")],
            files.config.clone(),
        )
            .into_response();
    }
    let sdk = SDKS.iter().find(|(_, script, _)| *script == path);
    let Some(file) = (if path == "/freshet.js" {
        Some(files.client.clone())
    } else if let Some((_, _, script)) = sdk {
        Some(files.packages.join(script))
    } else {
        page(&files.pages, path)
    }) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match tokio::fs::read(&file).await {
        Ok(bytes) => {
            let headers = [
                (header::CONTENT_TYPE, content_type(&file)),
                (header::CACHE_CONTROL, "no-cache"),
            ];
            (headers, bytes).into_response()
        }
        Err(_) => (StatusCode::NOT_FOUND, "no such page").into_response(),
    }
}

/// The file of a path: `/` is `index.html`, `/cart` is `cart.html`, one page
/// shows every product, and one all steps with an SDK. Nothing outside the folder.
fn page(pages: &Path, path: &str) -> Option<PathBuf> {
    let relative = Path::new(path.trim_start_matches('/'));
    if !relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return None;
    }
    if path.starts_with("/product/") {
        return Some(pages.join("product.html"));
    }
    let first = path.trim_start_matches('/').split('/').next();
    if let Some((sdk, _, _)) = SDKS.iter().find(|(sdk, _, _)| Some(*sdk) == first) {
        return Some(pages.join(format!("{sdk}.html")));
    }
    let file = if path.ends_with('/') {
        pages.join(relative).join("index.html")
    } else {
        pages.join(relative)
    };
    Some(if file.extension().is_none() {
        file.with_extension("html")
    } else {
        file
    })
}

pub(crate) fn content_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_and_nothing_else() {
        let at = |path| page(Path::new("/shop"), path).map(|p| p.display().to_string());
        assert_eq!(at("/").as_deref(), Some("/shop/index.html"));
        assert_eq!(at("/cart").as_deref(), Some("/shop/cart.html"));
        assert_eq!(at("/product/mug").as_deref(), Some("/shop/product.html"));
        for step in ["/segment", "/segment/", "/segment/product/mug"] {
            assert_eq!(at(step).as_deref(), Some("/shop/segment.html"));
        }
        assert_eq!(
            at("/rudderstack/cart").as_deref(),
            Some("/shop/rudderstack.html")
        );
        assert_eq!(at("/segment/../../Cargo.toml"), None);
        assert_eq!(at("/shop.css").as_deref(), Some("/shop/shop.css"));
        assert_eq!(at("/../Cargo.toml"), None);
    }
}
