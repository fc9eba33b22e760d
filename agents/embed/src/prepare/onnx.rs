//! The part of the ONNX format that we write: its protobuf messages (field numbers from onnx.proto) and a builder that
//! names values as it goes. Knows nothing of any model.

use prost::Message;

use super::source::Tensor;

const FLOAT: i32 = 1;
const INT32: i32 = 6;
const INT64: i32 = 7;
const FLOAT16: i32 = 10;
/// The pair that ONNX Runtime has known since 1.12.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;
/// ONNX Runtime's own operators.
const CONTRIB: &str = "com.microsoft";
/// Where a tensor's bytes lie in a file of their own.
const EXTERNAL: i32 = 1;
/// Tensors below this stay in the graph's file.
const SMALL: usize = 4096;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ModelProto {
    #[prost(int64, tag = "1")]
    pub(crate) ir_version: i64,
    #[prost(string, tag = "2")]
    pub(crate) producer_name: String,
    #[prost(string, tag = "3")]
    pub(crate) producer_version: String,
    #[prost(message, optional, tag = "7")]
    pub(crate) graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) opset_import: Vec<OperatorSet>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OperatorSet {
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    #[prost(int64, tag = "2")]
    pub(crate) version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub(crate) node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub(crate) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(string, tag = "4")]
    pub(crate) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(crate) domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attribute {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(float, optional, tag = "2")]
    pub(crate) f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub(crate) i: Option<i64>,
    #[prost(int64, repeated, tag = "8")]
    pub(crate) ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    pub(crate) kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) data_type: i32,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) raw_data: Vec<u8>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) external_data: Vec<Entry>,
    #[prost(int32, tag = "14")]
    pub(crate) data_location: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueInfo {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) value_type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorType {
    #[prost(int32, tag = "1")]
    pub(crate) elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub(crate) dim: Vec<Dimension>,
}

/// A number or a name; a name is the same size wherever it stands.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Dimension {
    #[prost(int64, optional, tag = "1")]
    pub(crate) value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub(crate) param: Option<String>,
}

impl Attribute {
    pub(crate) fn float(name: &str, value: f32) -> Self {
        Self { name: name.into(), f: Some(value), kind: 1, ..Self::default() }
    }

    pub(crate) fn int(name: &str, value: i64) -> Self {
        Self { name: name.into(), i: Some(value), kind: 2, ..Self::default() }
    }

    pub(crate) fn ints(name: &str, values: &[i64]) -> Self {
        Self { name: name.into(), ints: values.to_vec(), kind: 7, ..Self::default() }
    }
}

/// The type of a graph's weights and activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Float {
    #[default]
    F32,
    F16,
}

impl Float {
    fn code(self) -> i32 {
        match self {
            Self::F32 => FLOAT,
            Self::F16 => FLOAT16,
        }
    }

    fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect(),
        }
    }
}

/// Collects nodes in order of execution. Values are named after their node: `layer0.scores`.
#[derive(Default)]
pub(crate) struct Builder {
    graph: GraphProto,
    float: Float,
}

impl Builder {
    /// Weights and float scalars are stored as `float`.
    pub(crate) fn of(float: Float) -> Self {
        Self { float, ..Self::default() }
    }

    /// Row-major.
    pub(crate) fn weight(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        self.initializer(name, dims, self.float.code(), self.float.bytes(values))
    }

    /// f32 whatever the graph's type.
    pub(crate) fn wide_weight(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        self.initializer(name, dims, FLOAT, Float::F32.bytes(values))
    }

    pub(crate) fn ints(&mut self, name: &str, values: &[i64]) -> String {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(name, &[values.len()], INT64, raw_data)
    }

    pub(crate) fn whole(&mut self, name: &str, value: i64) -> String {
        self.initializer(name, &[], INT64, value.to_le_bytes().to_vec())
    }

    pub(crate) fn scalar(&mut self, name: &str, value: f32) -> String {
        self.initializer(name, &[], self.float.code(), self.float.bytes(&[value]))
    }

    fn initializer(&mut self, name: &str, dims: &[usize], data_type: i32, raw_data: Vec<u8>) -> String {
        let dims = dims.iter().map(|&dim| dim as i64).collect();
        self.graph.initializer.push(TensorProto { dims, data_type, name: name.into(), raw_data, ..TensorProto::default() });
        name.to_owned()
    }

    /// One node with one output, which bears the node's name.
    pub(crate) fn node(&mut self, name: &str, op_type: &str, inputs: &[&str], attribute: Vec<Attribute>) -> String {
        self.push(name, "", op_type, inputs, &[name], attribute);
        name.to_owned()
    }

    /// `input` times `weight`, a linear layer's `[out, in]`, which is stored the other way round.
    pub(crate) fn product(&mut self, name: &str, input: &str, weight: &Tensor) -> String {
        let weight = weight.transposed();
        let weight = self.weight(&format!("{name}.weight"), &weight.dims, &weight.values);
        self.node(name, "MatMul", &[input, &weight], vec![])
    }

    /// Like [`Builder::node`] for an operator of ONNX Runtime's own; an empty input is one left out.
    pub(crate) fn contrib(&mut self, name: &str, op_type: &str, inputs: &[&str], attribute: Vec<Attribute>) -> String {
        self.push(name, CONTRIB, op_type, inputs, &[name], attribute);
        name.to_owned()
    }

    /// `LayerNormalization(input + skip)` in one kernel. Returns the normed values (named `name`) and the sum.
    pub(crate) fn skip_norm(&mut self, name: &str, inputs: &[&str], epsilon: f32) -> (String, String) {
        let sum = format!("{name}.sum");
        let attribute = vec![Attribute::float("epsilon", epsilon)];
        self.push(name, CONTRIB, "SkipLayerNormalization", inputs, &[name, "", "", &sum], attribute);
        (name.to_owned(), sum)
    }

    fn push(&mut self, name: &str, domain: &str, op_type: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<Attribute>) {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        self.graph.node.push(NodeProto {
            input: owned(inputs),
            output: owned(outputs),
            name: name.to_owned(),
            op_type: op_type.to_owned(),
            attribute,
            domain: domain.to_owned(),
        });
    }

    pub(crate) fn token_input(&mut self, name: &str) {
        let dims = vec![Dimension::named("batch"), Dimension::named("sequence")];
        self.graph.input.push(ValueInfo::tensor(name, INT64, dims));
    }

    pub(crate) fn input_i32(&mut self, name: &str, dims: Vec<Dimension>) {
        self.graph.input.push(ValueInfo::tensor(name, INT32, dims));
    }

    pub(crate) fn input_i64(&mut self, name: &str, dims: Vec<Dimension>) {
        self.graph.input.push(ValueInfo::tensor(name, INT64, dims));
    }

    pub(crate) fn input_float(&mut self, name: &str, dims: Vec<Dimension>) {
        self.graph.input.push(ValueInfo::tensor(name, self.float.code(), dims));
    }

    /// Turns a value of the graph's type into f32.
    pub(crate) fn widened(&mut self, name: &str, input: &str) -> String {
        self.node(name, "Cast", &[input], vec![Attribute::int("to", FLOAT.into())])
    }

    /// `[batch, dim]` f32.
    pub(crate) fn vector_output(&mut self, name: &str, dim: usize) {
        let dims = vec![Dimension::named("batch"), Dimension::fixed(dim)];
        self.graph.output.push(ValueInfo::tensor(name, FLOAT, dims));
    }

    pub(crate) fn finish(mut self, name: &str) -> ModelProto {
        self.graph.name = name.into();
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: "em-embed".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(self.graph),
            opset_import: vec![
                OperatorSet { domain: String::new(), version: OPSET },
                OperatorSet { domain: CONTRIB.into(), version: 1 },
            ],
        }
    }
}

impl ModelProto {
    /// Takes the large tensors out, for a file called `location` beside the graph's: a protobuf ends at 2 GiB.
    pub(crate) fn take_weights(&mut self, location: &str) -> Vec<u8> {
        let mut data = Vec::new();
        for tensor in self.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
            if tensor.raw_data.len() < SMALL {
                continue;
            }
            // Whole pages, so that the runtime may map the file.
            data.resize(data.len().next_multiple_of(4096), 0);
            let entry = |key: &str, value: String| Entry { key: key.into(), value };
            tensor.external_data = vec![
                entry("location", location.into()),
                entry("offset", data.len().to_string()),
                entry("length", tensor.raw_data.len().to_string()),
            ];
            tensor.data_location = EXTERNAL;
            data.append(&mut std::mem::take(&mut tensor.raw_data));
        }
        data
    }
}

impl Dimension {
    pub(crate) fn named(name: &str) -> Self {
        Self { value: None, param: Some(name.into()) }
    }

    pub(crate) fn fixed(size: usize) -> Self {
        Self { value: Some(size as i64), param: None }
    }
}

impl ValueInfo {
    fn tensor(name: &str, elem_type: i32, dim: Vec<Dimension>) -> Self {
        let tensor_type = Some(TensorType { elem_type, shape: Some(Shape { dim }) });
        Self { name: name.into(), value_type: Some(TypeProto { tensor_type }) }
    }
}
