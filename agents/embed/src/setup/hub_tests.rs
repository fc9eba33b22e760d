//! The hub's client against a small mirror on loopback (a fake: four small files), which breaks off, refuses and lies on demand.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures_util::StreamExt;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::hub::{CacheFolder, Hub, HubError, Token};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[derive(Default)]
struct Mirror {
    /// Connections that break off in the middle of the weights.
    breaks: AtomicU32,
    lies: AtomicBool,
    gated: AtomicBool,
    /// Path and Range of each request for a file.
    asked: Mutex<Vec<(String, Option<String>)>>,
}

fn weights() -> Vec<u8> {
    (0..200_000_u32).flat_map(|number| (number % 251).to_le_bytes()).collect()
}

fn content(name: &str) -> Option<Vec<u8>> {
    match name {
        "config.json" => Some(b"{\"model_type\": \"bert\"}\n".to_vec()),
        "1_Pooling/config.json" => Some(b"{}\n".to_vec()),
        "model.safetensors" => Some(weights()),
        "pytorch_model.bin" => Some(b"never asked for".to_vec()),
        _ => None,
    }
}

fn git_blob(content: &[u8]) -> String {
    use sha1::Sha1;
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", content.len()));
    hasher.update(content);
    hex::encode(hasher.finalize())
}

async fn answer(mirror: web::Data<Arc<Mirror>>, request: HttpRequest) -> HttpResponse {
    let path = request.path().to_owned();
    let token = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if mirror.gated.load(Ordering::SeqCst) && token != Some("Bearer hf_right") {
        return HttpResponse::Unauthorized().finish();
    }
    if path == "/api/models/org/model/revision/main" {
        let file = |name: &str| {
            let content = content(name).expect("known");
            json!({"rfilename": name, "size": content.len(), "blobId": git_blob(&content)})
        };
        let mut sha256 = hex::encode(Sha256::digest(weights()));
        if mirror.lies.load(Ordering::SeqCst) {
            sha256.replace_range(0..4, "0000");
        }
        let large =
            json!({"rfilename": "model.safetensors", "size": 1, "blobId": "x", "lfs": {"sha256": sha256, "size": weights().len()}});
        let siblings = [file("config.json"), file("1_Pooling/config.json"), file("pytorch_model.bin"), large];
        return HttpResponse::Ok().json(json!({"sha": COMMIT, "siblings": siblings}));
    }
    let Some(name) = path.strip_prefix(&format!("/org/model/resolve/{COMMIT}/")) else { return HttpResponse::NotFound().finish() };
    let range = request.headers().get("range").and_then(|value| value.to_str().ok()).map(str::to_owned);
    mirror.asked.lock().expect("no panic").push((name.to_owned(), range.clone()));
    let Some(content) = content(name) else { return HttpResponse::NotFound().finish() };
    let from: usize = range.as_ref().map_or(0, |range| range["bytes=".len()..range.len() - 1].parse().expect("a number"));
    let rest = content[from..].to_vec();
    let mut response = if from > 0 { HttpResponse::PartialContent() } else { HttpResponse::Ok() };
    let breaks = name == "model.safetensors"
        && mirror.breaks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    if !breaks {
        return response.body(rest);
    }
    let half = web::Bytes::from(rest[..rest.len() / 2].to_vec());
    let parts = futures_util::stream::iter([Ok(half)]).chain(futures_util::stream::once(async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        Err::<web::Bytes, std::io::Error>(std::io::ErrorKind::BrokenPipe.into())
    }));
    response.streaming(Box::pin(parts))
}

async fn start() -> (Arc<Mirror>, Hub, actix_web::dev::ServerHandle) {
    let mirror = Arc::new(Mirror::default());
    let shared = web::Data::new(mirror.clone());
    let server = HttpServer::new(move || App::new().app_data(shared.clone()).default_service(web::to(answer)));
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).expect("bind");
    let endpoint = format!("http://{}", server.addrs()[0]);
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(server);
    (mirror, Hub { endpoint, token: None, offline: false, cache: None }, handle)
}

async fn fetch(hub: &Hub, store: &Path) -> Result<super::hub::Fetched, HubError> {
    hub.fetch(store, "org/model", "main", &|_| {}).await
}

#[tokio::test]
async fn a_model_arrives_verified_and_a_second_call_asks_nobody() {
    let (mirror, hub, server) = start().await;
    let store = tempfile::tempdir().expect("folder");
    let fetched = fetch(&hub, store.path()).await.expect("fetched");
    assert_eq!((fetched.commit.as_str(), fetched.new), (COMMIT, true));
    assert_eq!(std::fs::read(fetched.folder.join("model.safetensors")).expect("weights"), weights());
    assert!(fetched.folder.join("1_Pooling/config.json").is_file() && !fetched.folder.join("pytorch_model.bin").exists());
    let manifest = std::fs::read_to_string(store.path().join("manifests/model-org--model@main.json")).expect("manifest");
    assert!(manifest.contains(COMMIT) && manifest.contains(&hex::encode(Sha256::digest(weights()))), "{manifest}");
    let asked = mirror.asked.lock().expect("no panic").len();
    let again = fetch(&hub, store.path()).await.expect("there");
    assert_eq!((again.new, again.bytes, mirror.asked.lock().expect("no panic").len()), (false, 0, asked));
    server.stop(false).await;
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_was() {
    let (mirror, hub, server) = start().await;
    mirror.breaks.store(2, Ordering::SeqCst);
    let store = tempfile::tempdir().expect("folder");
    let fetched = fetch(&hub, store.path()).await.expect("fetched in three pieces");
    assert_eq!(std::fs::read(fetched.folder.join("model.safetensors")).expect("weights"), weights());
    let asked = mirror.asked.lock().expect("no panic").clone();
    let ranges: Vec<_> = asked.iter().filter(|(name, _)| name == "model.safetensors").map(|(_, range)| range.clone()).collect();
    assert!(ranges.len() == 3 && ranges[0].is_none() && ranges[1].is_some() && ranges[2].is_some(), "{ranges:?}");
    let total = weights().len() as u64 + content("config.json").expect("known").len() as u64 + 3;
    assert_eq!(fetched.bytes, total, "no byte came twice");
    server.stop(false).await;
}

#[tokio::test]
async fn another_process_goes_on_with_what_is_there() {
    let (mirror, hub, server) = start().await;
    let store = tempfile::tempdir().expect("folder");
    let part = store.path().join("tmp").join(format!("hub-org--model@{COMMIT}"));
    std::fs::create_dir_all(&part).expect("folder");
    std::fs::write(part.join("model.safetensors.part"), &weights()[..100_000]).expect("write");
    fetch(&hub, store.path()).await.expect("fetched");
    let asked = mirror.asked.lock().expect("no panic").clone();
    assert!(asked.contains(&("model.safetensors".to_owned(), Some("bytes=100000-".to_owned()))), "{asked:?}");
    server.stop(false).await;
}

#[tokio::test]
async fn a_wrong_checksum_is_refused_and_nothing_of_it_stays() {
    let (mirror, hub, server) = start().await;
    mirror.lies.store(true, Ordering::SeqCst);
    let store = tempfile::tempdir().expect("folder");
    let refused = fetch(&hub, store.path()).await.expect_err("another hash");
    assert!(matches!(&refused, HubError::Checksum { file, .. } if file == "model.safetensors"), "{refused}");
    assert!(!store.path().join("models/org--model@main").exists() && !store.path().join("manifests").exists());
    mirror.lies.store(false, Ordering::SeqCst);
    fetch(&hub, store.path()).await.expect("the next try begins anew");
    server.stop(false).await;
}

#[tokio::test]
async fn a_gated_model_wants_its_token_and_the_token_is_never_shown() {
    let (mirror, mut hub, server) = start().await;
    mirror.gated.store(true, Ordering::SeqCst);
    let store = tempfile::tempdir().expect("folder");
    let refused = fetch(&hub, store.path()).await.expect_err("no token");
    assert!(refused.to_string().contains("HF_TOKEN"), "{refused}");
    hub.token = Some(Token("hf_right".into()));
    assert!(!format!("{hub:?}").contains("hf_right"));
    fetch(&hub, store.path()).await.expect("fetched");
    server.stop(false).await;
}

#[tokio::test]
async fn without_a_network_the_cache_of_the_hub_must_do() {
    let folder = tempfile::tempdir().expect("folder");
    let model = folder.path().join("hub/models--org--model");
    for place in ["blobs", "refs", &format!("snapshots/{COMMIT}/1_Pooling")] {
        std::fs::create_dir_all(model.join(place)).expect("folder");
    }
    std::fs::write(model.join("refs/main"), COMMIT).expect("write");
    let link = |name: &str, blob: &str, content: &[u8]| {
        std::fs::write(model.join("blobs").join(blob), content).expect("write");
        std::os::unix::fs::symlink(model.join("blobs").join(blob), model.join("snapshots").join(COMMIT).join(name)).expect("link");
    };
    let config = content("config.json").expect("known");
    link("config.json", &git_blob(&config), &config);
    let good = hex::encode(Sha256::digest(weights()));
    link("model.safetensors", &good, &weights());
    let hub = Hub {
        endpoint: "http://127.0.0.1:9".into(),
        token: None,
        offline: true,
        cache: Some(CacheFolder(folder.path().join("hub"))),
    };
    let store = folder.path().join("store");
    let fetched = fetch(&hub, &store).await.expect("from the cache");
    assert_eq!((fetched.commit.as_str(), fetched.bytes), (COMMIT, 0));
    let missing = hub.fetch(&store, "org/other", "main", &|_| {}).await.expect_err("not cached");
    assert!(missing.to_string().contains("HF_HUB_OFFLINE"), "{missing}");
    // A blob that rotted is not taken.
    std::fs::write(model.join("blobs").join(&good), b"rotten").expect("write");
    assert!(matches!(fetch(&hub, &folder.path().join("other")).await, Err(HubError::Checksum { .. })));
}
