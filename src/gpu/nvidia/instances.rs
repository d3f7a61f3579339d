//! The number of the instance that a part of a card is: what the wrapper of NVIDIA's library does not ask for.

use std::path::Path;

use nvml_wrapper::Device;
use nvml_wrapper_sys::bindings::{NvmlLib, nvmlReturn_enum_NVML_SUCCESS};

/// The library once more: it is the same one, counted twice.
pub struct Instances(Option<NvmlLib>);

impl Instances {
    pub fn open(path: &Path) -> Self {
        let path = super::library(path);
        // SAFETY: the wrapper has loaded this very library and runs it.
        Instances(unsafe { NvmlLib::new(path) }.ok())
    }

    pub fn id_of(&self, part: &Device<'_>) -> Option<u32> {
        let ask = self.0.as_ref()?.nvmlDeviceGetGpuInstanceId.as_ref().ok()?;
        let mut id = 0;
        // SAFETY: the handle is of the library that is asked, which is open as long as `part`; `id` lives while it is asked.
        let code = unsafe { ask(part.handle(), &mut id) };
        (code == nvmlReturn_enum_NVML_SUCCESS).then_some(id)
    }
}
