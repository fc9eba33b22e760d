//! OpenAPI schemas of the types whose form on the wire is written by hand: ids, durations, Slurm's times, the parity gate. All other
//! types derive theirs.

use std::borrow::Cow;

use serde_json::json;
use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{RefOr, schema};
use utoipa::{PartialSchema, ToSchema};

use crate::spec::{ParityGate, SlurmTime};
use crate::{AttemptId, BlockId, ExperimentUid, HumanDuration, ShardId, TrialId};

/// As [`HumanDuration`] reads it; spaces around are passed over.
const DURATION: &str = r"^\s*(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(d|h|m|s|ms))+)\s*$";
/// As [`SlurmTime`] reads it: a duration, `minutes`, `minutes:seconds`, `hours:minutes:seconds` or `days-hours[:minutes[:seconds]]`.
const SLURM_TIME: &str =
    r"^\s*((([0-9]+\.?[0-9]*|\.[0-9]+)(d|h|m|s|ms))+|[0-9]{1,6}(:[0-9]{1,6}){0,2}|[0-9]{1,6}-[0-9]{1,6}(:[0-9]{1,6}){0,2})\s*$";
/// A ULID: 26 letters and digits of Crockford's base 32.
const ULID: &str = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$";

macro_rules! schema_of {
    ($type:ty, $schema:expr) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                stringify!($type).into()
            }
        }
    };
}

schema_of!(ExperimentUid, id("One experiment, for ever: a new one of the same name has another uid."));
schema_of!(ShardId, id("The blocks that go to one job at a time."));
schema_of!(BlockId, id("All backend variants at one repetition, batch size and load level."));
schema_of!(TrialId, id("One measured repetition of a cell."));
schema_of!(AttemptId, id("The server's record of one Slurm job."));
schema_of!(
    HumanDuration,
    text("A length of time with its unit (d, h, m, s, ms): 90s, 2m, 1h30m, 250ms.", "human-duration", DURATION, "2m")
);
schema_of!(
    SlurmTime,
    text(
        "A time limit in Slurm's spellings (minutes, hours:minutes:seconds, days-hours) or as 4h, 90m; shown as HH:MM:00.",
        "slurm-time",
        SLURM_TIME,
        "04:00:00"
    )
);
schema_of!(ParityGate, parity_gate());

fn id(description: &str) -> Object {
    text(description, "ulid", ULID, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
}

fn text(description: &str, format: &str, pattern: &str, example: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom(format.to_owned())))
        .pattern(Some(pattern))
        .description(Some(description))
        .examples([json!(example)])
        .build()
}

fn parity_gate() -> Schema {
    let cosine = ObjectBuilder::new()
        .schema_type(Type::Number)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Double)))
        .minimum(Some(0))
        .maximum(Some(1))
        .description(Some("The smallest cosine between a vector and the reference's that passes."));
    let gate = ObjectBuilder::new()
        .property("minCosine", cosine)
        .required("minCosine")
        .additional_properties(Some(schema::AdditionalProperties::FreeForm(false)));
    let report = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["report"]))
        .description(Some("Measured and shown, never a failure."));
    OneOfBuilder::new().item(report).item(gate).description(Some("`report`, or `{minCosine: 0.999}`.")).into()
}
