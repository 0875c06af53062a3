@group(0) @binding(3) var<uniform> params: Params;
