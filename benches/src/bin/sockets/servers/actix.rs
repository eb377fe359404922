//! actix-web with the Server-Sent Events of actix-web-lab, over a broadcast.

use std::io;
use std::net::TcpListener;

use actix_web::http::Uri;
use actix_web::web::{self, Path};
use actix_web::{App, HttpResponse, HttpServer};
use actix_web_lab::sse::{Data, Event, Sse};
use futures::StreamExt;

use super::broadcast::Channels;
use super::WORKERS;
use crate::order::{Order, TOOK};

pub(super) fn theirs(listener: TcpListener) -> io::Result<()> {
    let channels = web::Data::new(Channels::default());
    actix_web::rt::System::new().block_on(async {
        HttpServer::new(move || {
            App::new()
                .app_data(channels.clone())
                .route("/events/{channel}", web::get().to(events))
                .route("/publish/{channel}", web::post().to(publish))
        })
        .workers(WORKERS)
        .tcp_nodelay(true)
        .disable_signals()
        .listen(listener)?
        .run()
        .await
    })
}

async fn events(channel: Path<String>, channels: web::Data<Channels>) -> impl actix_web::Responder {
    Sse::from_infallible_stream(channels.subscribe(&channel).map(|message| {
        let message = message.expect("no lag");
        Event::Data(Data::new(&*message.data).id(message.id()).event(&*message.name))
    }))
}

async fn publish(uri: Uri, channels: web::Data<Channels>) -> HttpResponse {
    match uri.path_and_query().and_then(|target| Order::parse(target.as_str())) {
        Some(order) => {
            HttpResponse::NoContent().insert_header((TOOK, channels.publish(&order))).finish()
        }
        None => HttpResponse::NotFound().finish(),
    }
}
