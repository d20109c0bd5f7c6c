//! Content in a bucket: the requests that a service which speaks as S3 does gets, over HTTP on this machine.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{Method, StatusCode, header};
use parking_lot::Mutex;

use super::TestMedia;
use crate::{MediaConfig, S3Config, blobs::Blobs};

/// A bucket: its objects, and the parts of those that are under way.
#[derive(Debug, Default)]
struct Bucket {
    objects: BTreeMap<String, Vec<u8>>,
    parts: BTreeMap<(String, u32), Bytes>,
    largest: usize,
    unsigned: usize,
}

type Shared = Arc<Mutex<Bucket>>;

fn xml(text: impl Into<String>) -> Response {
    ([(header::CONTENT_TYPE, "application/xml")], text.into()).into_response()
}

/// The text between two tags.
fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
    text.split_once(open).unwrap().1.split_once(close).unwrap().0
}

async fn answer(State(bucket): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut bucket = bucket.lock();
    let signed = head
        .headers
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value.to_str().unwrap().starts_with("AWS4-HMAC-SHA256 Credential=id/"));
    bucket.unsigned += usize::from(!signed);
    bucket.largest = bucket.largest.max(body.len());
    let path = head.uri.path().strip_prefix("/files").unwrap().trim_start_matches('/').to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let etag = [(header::ETAG, "\"e\"")];
    match head.method {
        Method::POST if query.starts_with("delete") => {
            let key = between(std::str::from_utf8(&body).unwrap(), "<Key>", "</Key>").to_owned();
            bucket.objects.remove(&key);
            xml(format!("<DeleteResult><Deleted><Key>{key}</Key></Deleted></DeleteResult>"))
        }
        Method::POST if query.starts_with("uploads") => {
            xml("<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
        }
        Method::POST => {
            let parts = std::mem::take(&mut bucket.parts);
            bucket.objects.insert(path, parts.into_values().flatten().collect());
            xml("<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>")
        }
        Method::PUT if query.contains("partNumber=") => {
            let number = query.split('&').find_map(|pair| pair.strip_prefix("partNumber=")).unwrap().parse().unwrap();
            bucket.parts.insert((path, number), body);
            etag.into_response()
        }
        Method::PUT => {
            bucket.objects.insert(path, body.into());
            etag.into_response()
        }
        Method::DELETE => {
            bucket.parts.clear();
            StatusCode::NO_CONTENT.into_response()
        }
        _ => match bucket.objects.get(&path) {
            Some(object) => {
                let headers = [(header::ETAG, "\"e\""), (header::LAST_MODIFIED, "Wed, 21 Oct 2015 07:28:00 GMT")];
                (headers, object.clone()).into_response()
            }
            None => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

#[tokio::test]
async fn content_is_in_a_bucket() {
    let bucket = Shared::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(Arc::clone(&bucket));
    let service = tokio::spawn(async move { axum::serve(listener, router).await });
    let blobs = Blobs::bucket(&S3Config {
        bucket: "files".to_owned(),
        region: Some("there".to_owned()),
        endpoint: Some(endpoint),
        prefix: Some("below".to_owned()),
        access_key_id: Some("id".to_owned()),
        secret_access_key: Some("secret".to_owned()),
        allow_http: true,
    });
    let test =
        TestMedia::over(Arc::default(), blobs.unwrap(), MediaConfig { max_upload_mib: 20, ..MediaConfig::default() });
    let large: Vec<u8> = (0..12_000_000_u32).map(|n| (n % 253) as u8).collect();
    let (one, two) =
        (test.upload("", "text/plain", "small").await.id(), test.upload("", "text/plain", large.clone()).await.id());
    assert_eq!(test.download(&format!("hs/{one}")).await.ok().bytes, "small");
    assert!(test.download(&format!("hs/{two}")).await.ok().bytes == large);
    // What is too large is taken out again, whole or in parts.
    test.upload("", "text/plain", vec![0; 21 << 20]).await.refused(413, "M_TOO_LARGE");
    let pieces = (0..21).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![0; 1 << 20])));
    let endless = axum::body::Body::from_stream(futures::stream::iter(pieces));
    test.upload("", "text/plain", endless).await.refused(413, "M_TOO_LARGE");
    // An object that nobody names goes.
    test.media.loose.discard(&"ab/unknown".to_owned()).await;
    {
        let bucket = bucket.lock();
        assert_eq!((bucket.objects.len(), bucket.parts.len(), bucket.unsigned), (2, 0, 0));
        assert!(bucket.objects.keys().all(|key| key.starts_with("below/")), "{:?}", bucket.objects.keys());
        assert!(bucket.largest <= 6 << 20, "{} bytes in one request", bucket.largest);
    }
    service.abort();
}
