//! Bodies that are no type of the API: text, files, and what is read by hand. Each has a name in the document.

use std::borrow::Cow;

use serde_json::json;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! body {
    ($name:ident, $description:literal, $schema:expr) => {
        #[doc = $description]
        pub(in crate::http) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.description(Some($description)).build().into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    };
}

body!(NewExperiment, "An experiment as people write it.", ObjectBuilder::new());
body!(Document, "An OpenAPI document.", ObjectBuilder::new());
body!(Text, "Text in UTF-8.", ObjectBuilder::new().schema_type(Type::String));
body!(File, "A file's bytes.", ObjectBuilder::new().schema_type(Type::String).content_media_type("application/octet-stream"));
body!(
    EventStream,
    "Server-sent events: `id` is a resource version or the number of an event, `event` is added, modified or deleted, `data` an \
     experiment or an event; of a deleted experiment only `metadata.uid` and `metadata.name`.",
    ObjectBuilder::new().schema_type(Type::String)
);
body!(
    ReportEnding,
    "The form of a report.",
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["html", "md", "txt", "json", "csv", "zip"]))
);
body!(
    Hint,
    "Anything; `job_id` goes to the server's log.",
    ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::AnyValue).examples([json!({"job_id": 4711})])
);
body!(ScrapeTargets, "As Prometheus' http_sd_config reads it.", ArrayBuilder::new().items(target()));

fn target() -> Object {
    let text = || ObjectBuilder::new().schema_type(Type::String).build();
    ObjectBuilder::new()
        .property("targets", ArrayBuilder::new().items(text()))
        .property("labels", ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(Schema::from(text()))))
        .required("targets")
        .required("labels")
        .build()
}
