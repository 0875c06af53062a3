//! Every variant of every kernel: parses, validates, fits the limits it claims, agrees with its operands, and can be
//! written out for Vulkan, Metal and Direct3D. No GPU needed.

use doppler_kernels::{Access, KERNELS, Kernel, Operand, Variant};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

fn every_variant(check: impl Fn(&dyn Kernel, &Variant) -> Result<(), String>) {
    let mut misses = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for entry in KERNELS {
        let cases = (entry.edge_cases)();
        assert!(!cases.is_empty(), "{} has no edge cases", entry.name);
        for case in cases {
            assert_eq!(case.kernel.name(), entry.name);
            let variants = case.kernel.variants();
            let last = variants.last().expect("every kernel has a variant");
            let webgpu = doppler_kernels::Tier::WEBGPU;
            let webgpu = doppler_kernels::Tier { storage_buffers: 10, ..webgpu };
            assert_eq!(webgpu.lacks(&last.needs), None, "{}: the last variant must be portable", entry.name);
            for variant in variants {
                if seen.insert((variant.source(), case.kernel.operands().len()))
                    && let Err(miss) = check(case.kernel.as_ref(), &variant)
                {
                    misses.push(format!("{}/{}: {miss}\n  {:?}", entry.name, variant.name, case.kernel));
                }
            }
        }
    }
    assert!(misses.is_empty(), "{}", misses.join("\n"));
}

fn validate(variant: &Variant) -> Result<(naga::Module, ModuleInfo), String> {
    let source = variant.source();
    let module = naga::front::wgsl::parse_str(&source).map_err(|e| e.emit_to_string(&source))?;
    // pack2x16float and unpack2x16float, which every WebGPU device has.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    if variant.needs.subgroups {
        capabilities |= Capabilities::SUBGROUP;
    }
    if variant.needs.f16 {
        capabilities |= Capabilities::SHADER_FLOAT16;
    }
    if variant.needs.cooperative_matrix {
        capabilities |= Capabilities::COOPERATIVE_MATRIX;
    }
    if variant.needs.coherent {
        capabilities |= Capabilities::MEMORY_DECORATION_COHERENT;
    }
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    if variant.needs.subgroups {
        validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
        validator.subgroup_operations(naga::valid::SubgroupOperationSet::all());
    }
    let info = validator.validate(&module).map_err(|e| e.emit_to_string(&source))?;
    Ok((module, info))
}

#[test]
fn limits_and_bindings_are_as_declared() {
    every_variant(|kernel, variant| {
        let (module, _) = validate(variant)?;
        let entry = module.entry_points.iter().find(|e| e.name == "main").ok_or("no entry point `main`")?;
        let invocations: u32 = entry.workgroup_size.iter().product();
        if invocations > variant.needs.invocations {
            return Err(format!("{invocations} invocations, declares {}", variant.needs.invocations));
        }
        let layout_context = module.to_ctx();
        let mut workgroup_bytes = 0;
        let mut bindings = Vec::new();
        for (_, global) in module.global_variables.iter() {
            if global.space == naga::AddressSpace::WorkGroup {
                workgroup_bytes += module.types[global.ty].inner.size(layout_context).next_multiple_of(16);
            }
            if let Some(binding) = &global.binding {
                bindings.push((binding.binding, global));
            }
        }
        if workgroup_bytes > variant.needs.workgroup_bytes {
            return Err(format!(
                "{workgroup_bytes} bytes of workgroup memory, declares {}",
                variant.needs.workgroup_bytes
            ));
        }
        let operands = kernel.operands();
        let has_params = !kernel.params().is_empty();
        if bindings.len() != operands.len() + usize::from(has_params) {
            return Err(format!("{} bindings for {} operands", bindings.len(), operands.len()));
        }
        for (index, global) in bindings {
            let name = global.name.as_deref().unwrap_or("");
            match operands.get(index as usize) {
                Some(operand) => check_binding(operand, name, global)?,
                None if name == "params" && index as usize == operands.len() => {
                    let size = module.types[global.ty].inner.size(layout_context) as usize;
                    if size != kernel.params().len().next_multiple_of(4) {
                        return Err(format!("Params has {size} bytes, params() gives {}", kernel.params().len()));
                    }
                }
                None => return Err(format!("binding {index} `{name}` is no operand")),
            }
        }
        Ok(())
    });
}

fn check_binding(operand: &Operand, name: &str, global: &naga::GlobalVariable) -> Result<(), String> {
    if operand.name != name {
        return Err(format!("operand `{}` is bound as `{name}`", operand.name));
    }
    let naga::AddressSpace::Storage { access } = global.space else {
        return Err(format!("`{name}` is not a storage buffer"));
    };
    let writes = access.contains(naga::StorageAccess::STORE);
    if writes != (operand.access != Access::Read) {
        return Err(format!("`{name}` is {:?} but the shader's access is {access:?}", operand.access));
    }
    Ok(())
}

#[test]
fn written_out_for_every_backend() {
    every_variant(|_, variant| {
        let (module, info) = validate(variant)?;
        let lang_version = if variant.needs.cooperative_matrix { (1, 4) } else { (1, 3) };
        let spv = naga::back::spv::Options { lang_version, ..Default::default() };
        naga::back::spv::write_vec(&module, &info, &spv, None).map_err(|e| format!("SPIR-V: {e}"))?;
        if variant.needs.cooperative_matrix {
            // Metal has other shapes and Direct3D none: such a variant never runs there.
            return Ok(());
        }
        let msl = naga::back::msl::Options { lang_version: (3, 0), fake_missing_bindings: true, ..Default::default() };
        naga::back::msl::write_string(&module, &info, &msl, &Default::default()).map_err(|e| format!("MSL: {e}"))?;
        let mut text = String::new();
        let hlsl = naga::back::hlsl::Options {
            shader_model: naga::back::hlsl::ShaderModel::V6_2,
            fake_missing_bindings: true,
            ..Default::default()
        };
        let pipeline = Default::default();
        let mut writer = naga::back::hlsl::Writer::new(&mut text, &hlsl, &pipeline);
        writer.write(&module, &info, None).map_err(|e| format!("HLSL: {e}"))?;
        Ok(())
    });
}
