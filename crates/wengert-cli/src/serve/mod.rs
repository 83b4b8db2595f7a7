//! `wengert serve`: a page on which one draws, and what the model makes of it.

mod saliency;

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::args::ServeArgs;
use crate::{Failure, largest};
use saliency::Saliency;

/// How long a client may take for its headers, and for its image.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may live before it is to end with the answer that it is at: a page that is still open makes a new one.
const LIFE: Duration = Duration::from_secs(15);
/// Connections at a time; others wait.
const MOST: usize = 128;

const PAGE: &str = include_str!("page.html");
/// The page is whole in itself: nothing from elsewhere is loaded, nor may other pages hold it.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

type Answer = Response<Full<Bytes>>;

pub(crate) fn serve(args: &ServeArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let model = Arc::new(Saliency::load(&args.model)?);
    let failed = |e: std::io::Error| Failure::Work(format!("{}:{}: {e}", args.address, args.port));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::new(args.address, args.port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        writeln!(out, "http://{address}/  (Ctrl-C ends it)")?;
        out.flush()?;
        answer_all(listener, model).await
    })
}

async fn answer_all(listener: TcpListener, model: Arc<Saliency>) -> Result<(), Failure> {
    let free = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // A client that went away, or no file descriptors for the moment.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let model = model.clone();
        tokio::spawn(async move {
            let answers = service_fn(move |request| {
                let model = model.clone();
                async move { Ok::<_, Infallible>(answer(request, &model).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), answers);
            let mut connection = pin!(connection);
            // Whoever breaks the protocol, or is slow, has ended the connection.
            if timeout(LIFE, &mut connection).await.is_err() {
                connection.as_mut().graceful_shutdown();
                let _ = timeout(PATIENCE, connection).await;
            }
            drop(permit);
        });
    }
}

async fn answer(request: Request<Incoming>, model: &Arc<Saliency>) -> Answer {
    let (path, method) = (request.uri().path().to_owned(), request.method().clone());
    match (path.as_str(), method) {
        ("/", Method::GET | Method::HEAD) => page(),
        ("/model", Method::GET | Method::HEAD) => told(StatusCode::OK, &model.described()),
        ("/predict", Method::POST) => predicted(request, model).await,
        ("/" | "/model", _) => refused(StatusCode::METHOD_NOT_ALLOWED, "expected GET", Some("GET, HEAD")),
        ("/predict", _) => refused(StatusCode::METHOD_NOT_ALLOWED, "expected POST", Some("POST")),
        _ => refused(StatusCode::NOT_FOUND, "expected /, /model or /predict", None),
    }
}

/// The probabilities of an image, whose pixels are the bytes of the body, and what they depend on.
async fn predicted(request: Request<Incoming>, model: &Arc<Saliency>) -> Answer {
    let due = model.inputs();
    let body = match timeout(PATIENCE, Limited::new(request.into_body(), due).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(e)) if e.is::<LengthLimitError>() => {
            let what = format!("expected {due} bytes, one a pixel, found more");
            return refused(StatusCode::PAYLOAD_TOO_LARGE, &what, None);
        }
        Ok(Err(e)) => return refused(StatusCode::BAD_REQUEST, &e.to_string(), None),
        Err(_) => return refused(StatusCode::REQUEST_TIMEOUT, "the image took too long", None),
    };
    if body.len() != due {
        let what = format!("expected {due} bytes, one a pixel, found {}", body.len());
        return refused(StatusCode::BAD_REQUEST, &what, None);
    }
    let clock = Instant::now();
    let model = model.clone();
    let found = tokio::task::spawn_blocking(move || model.of(&body)).await;
    match found {
        Ok(Ok(found)) => {
            if found.probabilities.iter().chain(&found.gradient).any(|x| !x.is_finite()) {
                let what = "the model makes no finite numbers of this image";
                return refused(StatusCode::INTERNAL_SERVER_ERROR, what, None);
            }
            let (class, microseconds) = (largest(&found.probabilities), clock.elapsed().as_micros() as u64);
            let said = json!({
                "class": class, "probabilities": found.probabilities, "saliency": found.gradient,
                "microseconds": microseconds,
            });
            told(StatusCode::OK, &said)
        }
        Ok(Err(e)) => refused(StatusCode::INTERNAL_SERVER_ERROR, &e.to_string(), None),
        Err(_) => refused(StatusCode::INTERNAL_SERVER_ERROR, "the prediction ended early", None),
    }
}

fn page() -> Answer {
    with(StatusCode::OK, "text/html; charset=utf-8", PAGE.to_owned(), None)
}

fn told(status: StatusCode, said: &Value) -> Answer {
    with(status, "application/json", said.to_string(), None)
}

fn refused(status: StatusCode, what: &str, allow: Option<&str>) -> Answer {
    with(status, "application/json", json!({ "error": what }).to_string(), allow)
}

fn with(status: StatusCode, kind: &str, body: String, allow: Option<&str>) -> Answer {
    let mut answer = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .header(CACHE_CONTROL, "no-store")
        .header(CONTENT_SECURITY_POLICY, POLICY)
        .header("x-content-type-options", "nosniff");
    if let Some(allow) = allow {
        answer = answer.header(ALLOW, allow);
    }
    // All of it is known beforehand and well formed.
    answer.body(Full::new(Bytes::from(body))).unwrap_or_default()
}
