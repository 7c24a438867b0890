//! The wasmtime engine: what every component of this process is compiled for and runs in.

use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::places::Places;
use super::state::State;
use super::{Limits, egress, imports};

/// Instances beyond the permits: probes, `describe` and `configure` of a plugin that is being loaded.
const SPARE: u32 = 16;
/// Core modules in one component: main, adapter, shim and fix-ups of today's tools are at most six.
const CORE_INSTANCES: u32 = 8;
/// Linear memories in one component; more than one only where components were composed.
const MEMORIES: u32 = 2;
/// Tables in one component.
const TABLES: u32 = 4;
/// Entries of one table: a Python interpreter has some ten thousand functions.
pub(super) const TABLE_ELEMENTS: usize = 1 << 16;
/// Of a slot's memory stays mapped between calls, which saves page faults. A Rust guest's stack comes first and is 1 MiB, so
/// that it touches little at the start and more above: only the pages that it wrote are cleared, where the kernel can tell
/// which those are (PAGEMAP_SCAN, Linux 6.7); elsewhere the start is cleared and the rest unmapped.
const KEEP_RESIDENT: usize = 2 << 20;
/// The same without PAGEMAP_SCAN: all of it would be cleared after every call.
const KEEP_RESIDENT_BLINDLY: usize = 64 << 10;
/// The same of a table.
const TABLE_KEEP_RESIDENT: usize = 16 << 10;

/// Makes the engine and starts its clock.
pub(super) fn build(limits: &Limits) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    let engine = match Engine::new(&config) {
        Ok(engine) => engine,
        Err(error) => {
            // The pool reserves terabytes of addresses, which `ulimit -v` or a small machine may refuse.
            tracing::warn!(%error, "no pool of instances; every call makes its own memory, which is slower");
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            Engine::new(&config)?
        }
    };
    tick(engine.weak(), limits.epoch_tick)?;
    Ok(engine)
}

fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let count = u32::try_from(Places::new(limits).count()).unwrap_or(u32::MAX / 64).saturating_add(SPARE);
    let scan = PoolingAllocationConfig::is_pagemap_scan_available();
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(count)
        .total_stacks(count)
        .total_core_instances(count.saturating_mul(CORE_INSTANCES))
        .total_memories(count.saturating_mul(MEMORIES))
        .total_tables(count.saturating_mul(TABLES))
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(limits.guest_memory)
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(if scan { KEEP_RESIDENT } else { KEEP_RESIDENT_BLINDLY })
        .table_keep_resident(TABLE_KEEP_RESIDENT);
    pool
}

/// A thread, not a task: it has to tick while guests keep every worker busy. It ends with the engine.
fn tick(engine: EngineWeak, period: Duration) -> std::io::Result<()> {
    std::thread::Builder::new().name("plugin-epoch".into()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(period);
        }
    })?;
    Ok(())
}

/// All that a component can import. What is linked here is what the host knows; anything else refuses the component.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    egress::add_to_linker(&mut linker)?;
    imports::add_to_linker(&mut linker)?;
    Ok(linker)
}
