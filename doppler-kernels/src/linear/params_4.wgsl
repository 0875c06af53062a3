@group(0) @binding(4) var<uniform> params: Params;
