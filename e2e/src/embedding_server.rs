//! A running server for experiments of type `openai`: real HTTP, made-up vectors. For tests that are about jobs and not about
//! embeddings; whoever measures a backend starts the real one.

use std::net::TcpListener;
use std::sync::mpsc;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};

/// Speaks `/v1/embeddings`, `/v1/models` and `/health` until it is dropped.
pub struct EmbeddingServer {
    handle: ServerHandle,
    url: String,
}

impl EmbeddingServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let routes = || {
                    App::new()
                        .app_data(web::JsonConfig::default().limit(16 * 1024 * 1024))
                        .route("/health", web::get().to(|| async { HttpResponse::Ok().json(json!({"status": "ok"})) }))
                        .route(
                            "/v1/models",
                            web::get().to(|| async { HttpResponse::Ok().json(json!({"object": "list", "data": []})) }),
                        )
                        .route("/v1/embeddings", web::post().to(embeddings))
                };
                let server = HttpServer::new(routes).workers(1).disable_signals().listen(listener).expect("a server").run();
                send.send(server.handle()).expect("the test waits");
                let _ = server.await;
            });
        });
        Self { handle: receive.recv().expect("the server starts"), url }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for EmbeddingServer {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(self.handle.stop(false));
    }
}

/// One unit vector for each text.
async fn embeddings(body: web::Json<Value>) -> HttpResponse {
    let count = body["input"].as_array().map_or(1, Vec::len);
    let data: Vec<Value> =
        (0..count).map(|index| json!({"object": "embedding", "index": index, "embedding": [0.6, 0.8, 0.0, 0.0]})).collect();
    let usage = json!({"prompt_tokens": count, "total_tokens": count});
    HttpResponse::Ok().json(json!({"object": "list", "model": body["model"], "data": data, "usage": usage}))
}
