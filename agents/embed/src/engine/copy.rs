//! Copies between this process's memory and tensors that lie on the device, by CUDA's own runtime library: a replayed CUDA
//! graph reads and writes fixed device addresses, and ONNX Runtime has no call that fills them.

use std::ffi::{c_int, c_void};

use libloading::{Library, Symbol};
use ort::value::{PrimitiveTensorElementType, Tensor};

use super::error::{BatchError, EngineError};

/// `cudaMemcpy(to, from, bytes, kind)`; returns when the copy is done, 0 is success.
type Memcpy = unsafe extern "C" fn(*mut c_void, *const c_void, usize, c_int) -> c_int;

const TO_DEVICE: c_int = 1;
const FROM_DEVICE: c_int = 2;
/// Those that ONNX Runtime's CUDA provider links; it has loaded one of them before we ask.
const RUNTIMES: [&str; 2] = ["libcudart.so.13", "libcudart.so.12"];

pub(crate) struct Copier {
    memcpy: Memcpy,
    // Keeps `memcpy` loaded.
    _library: Library,
}

/// Where a tensor lies on the device. Valid as long as what it was bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceTensor {
    address: *mut c_void,
    bytes: usize,
}

// SAFETY: an address on the device, which every thread of the process may name; it is never read on the host.
unsafe impl Send for DeviceTensor {}

impl DeviceTensor {
    pub(crate) fn of<T: PrimitiveTensorElementType + std::fmt::Debug>(tensor: &Tensor<T>) -> Self {
        Self { address: tensor.data_ptr().cast_mut().cast(), bytes: tensor.shape().num_elements() * size_of::<T>() }
    }
}

impl Copier {
    pub(crate) fn open() -> Result<Self, EngineError> {
        // SAFETY: CUDA's runtime library has no constructors that others could notice; the provider loaded it already.
        let open = |name: &&str| unsafe { Library::new(*name) }.ok();
        let library = RUNTIMES.iter().find_map(open).ok_or(EngineError::NoCudaRuntime { tried: RUNTIMES.join(", ") })?;
        // SAFETY: the type is that of cuda_runtime_api.h.
        let symbol: Result<Symbol<Memcpy>, _> = unsafe { library.get(b"cudaMemcpy\0") };
        let memcpy = *symbol.map_err(|_| EngineError::NoCudaRuntime { tried: "cudaMemcpy in it".into() })?;
        Ok(Self { memcpy, _library: library })
    }

    /// Fills the tensor's beginning.
    pub(crate) fn write<T: Copy>(&self, to: DeviceTensor, values: &[T]) -> Result<(), BatchError> {
        let bytes = size_of_val(values);
        assert!(bytes <= to.bytes, "the shape was chosen for this batch");
        // SAFETY: both sides hold `bytes`; the call returns after the copy.
        check(unsafe { (self.memcpy)(to.address, values.as_ptr().cast(), bytes, TO_DEVICE) })
    }

    /// Reads the tensor's beginning.
    pub(crate) fn read<T: Copy>(&self, from: DeviceTensor, values: &mut [T]) -> Result<(), BatchError> {
        let bytes = size_of_val(values);
        assert!(bytes <= from.bytes, "the shape was chosen for this batch");
        // SAFETY: both sides hold `bytes`; the call returns after the copy.
        check(unsafe { (self.memcpy)(values.as_mut_ptr().cast(), from.address, bytes, FROM_DEVICE) })
    }
}

fn check(code: c_int) -> Result<(), BatchError> {
    if code == 0 { Ok(()) } else { Err(BatchError::Copy { code }) }
}
