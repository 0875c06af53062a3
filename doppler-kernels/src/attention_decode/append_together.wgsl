@group(0) @binding(6) var<uniform> params: Params;
