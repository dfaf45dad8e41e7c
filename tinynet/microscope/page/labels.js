// Every word of the page, in English and in Chinese: one table. t("key") gives the one in use.

const LABELS = {
  title: ["Microscope", "显微镜"],
  skip: ["Skip to the numbers", "跳到数字"],
  run: ["Run", "训练运行"],
  picture: ["Picture", "图片"],
  right: ["Right class", "正确类别"],
  mode: ["Mode", "模式"],
  evaluation: ["evaluation", "评估"],
  training: ["training", "训练"],
  forward: ["forward", "前向"],
  backward: ["backward", "反向"],
  update: ["update", "更新"],
  checkpoint: ["Checkpoint", "检查点"],
  end: ["end", "结束"],
  after: ["after step {0}", "第 {0} 步之后"],
  bug: ["Planted bug", "植入的错误"],
  none: ["none", "无"],
  beside: ["Compare with", "对比"],
  language: ["中文", "English"],
  help: ["Help", "帮助"],
  close: ["Close", "关闭"],
  own: ["Open a picture …", "打开图片…"],
  drop: ["Drop a picture anywhere on the page", "把图片拖到页面任意处"],
  best: ["Five best classes", "得分最高的五类"],
  network: ["The network, layer by layer", "网络，逐层"],
  maps: ["All maps", "全部特征图"],
  kernels: ["All kernels", "全部卷积核"],
  slices: ["Kernel {0}: one tile for each channel that it sees", "卷积核 {0}：每个可见通道一格"],
  unitWeights: ["The weights of unit {0}", "单元 {0} 的权重"],
  kernel: ["Kernel", "卷积核"],
  unit: ["Unit", "单元"],
  channel: ["Channel", "通道"],
  smaller: ["Smaller tiles", "缩小"],
  larger: ["Larger tiles", "放大"],
  previous: ["Previous", "上一个"],
  next: ["Next", "下一个"],
  thisMap: ["{0}, channel {1}", "{0}，通道 {1}"],
  thisMapHint: ["Arrow keys choose a number, Page Up and Page Down a channel.",
    "方向键选择数字，Page Up / Page Down 切换通道。"],
  galleryHint: ["Arrow keys choose a tile.", "方向键选择一格。"],
  terms: ["Terms, the largest first", "各项，从大到小"],
  termsHint: ["Click a blue number to see what it is computed from.", "点击蓝色的数，看它由哪些数算出。"],
  range: ["{0} to {1} of {2}", "第 {0} 到 {1} 项，共 {2} 项"],
  first: ["First", "最前"],
  last: ["Last", "最后"],
  usedBy: ["Which numbers use this one", "哪些数用到它"],
  nothingUses: ["No other number is computed from it.", "没有其他数由它算出。"],
  aNumber: ["1 number", "1 个数"],
  numbers: ["{0} numbers", "{0} 个数"],
  layerHas: ["the layer has", "该层的数"],
  agrees: ["the same, to within {0}", "一致，误差不超过 {0}"],
  broken: ["The layer has another number: it is broken.", "该层的数不同：它坏了。"],
  given: ["The forward pass does not compute this number: training has learned it.",
    "前向计算不产生这个数：它是训练学到的。"],
  itsGradient: ["its gradient", "它的梯度"],
  itsUpdate: ["its update", "它的更新"],
  itsValue: ["its value", "它的值"],
  padding: ["padding", "填充"],
  rank: ["No.", "序"],
  window: ["One channel of the terms, as numbers", "一个通道的各项（数值）"],
  overview: ["All terms in colour", "全部各项（颜色）"],
  prove: ["Prove it", "验证"],
  proveHint: ["Change the number by eps, up and down, compute the loss again in float64, and compare the slope.",
    "把这个数上下各改变 eps，用 float64 重新计算损失，再比较斜率。"],
  lossAt: ["loss at {0}", "{0} 处的损失"],
  numeric: ["slope, measured", "测得的斜率"],
  analytic: ["gradient, computed", "算出的梯度"],
  relative: ["relative difference", "相对差"],
  through: ["Through training", "随训练变化"],
  throughHint: ["The same number at every checkpoint of the run.", "同一个数在每个检查点的值。"],
  stepOf: ["{0} of {1}", "{0} / {1}"],
  play: ["Play", "播放"],
  pause: ["Pause", "暂停"],
  breaks: ["{0} broken", "{0} 个坏数"],
  changeOf: ["change of", "变化量："],
  inUnits: ["in units of {0}", "单位 {0}"],
  absent: ["This network has no such number.", "这个网络没有这个数。"],
  intro: ["Choose a layer, then a map, then a pixel of it. Beside it is all that this number is computed from; each blue "
    + "number leads on to where it comes from itself, down to the picture.",
  "先选一层，再选一张特征图，再选图中的一个像素。旁边是算出这个数的所有项；每个蓝色的数都通向它自己的来源，一直到图片。"],
  oneStep: ["This is one step of training: dropout has drawn its masks.", "这是训练中的一步：dropout 已抽取掩码。"],
  rounded: ["The weights of convolutions were rounded to {0} bits before anything was computed.",
    "卷积权重在计算之前已舍入到 {0} 位。"],
  behind: ["The weights of {0} stay behind: only its largest terms are here.",
    "{0} 的权重没有放进来：这里只有最大的几项。"],
  failed: ["The microscope does not answer. Is it still running?", "显微镜没有回应。它还在运行吗？"],
  helpText: [
    "Every number here is a place: a layer, an array and an index, such as conv2.y[0,5,10,3]. A number is "
    + "shown with everything that it is computed from, and every term is a link to the number that it is. "
    + "Walk down to the pixels, or up to the loss. The address of the page holds the place: send it on.",
    "这里的每个数都有一个位置：层、数组和下标，例如 conv2.y[0,5,10,3]。每个数都和算出它的所有项一起显示，"
    + "每一项都是链接。可以一直往下走到像素，或往上走到损失。网页地址记住了位置，可以发给别人。"],
  keyN: ["the next layer of the walk, forward and then backward", "下一层（先前向，后反向）"],
  keyP: ["the layer before", "上一层"],
  keyTabs: ["forward, backward, update", "前向、反向、更新"],
  keyArrows: ["in a map: choose a number", "在图中：选择数字"],
  keyPage: ["in a map: choose a channel", "在图中：切换通道"],
  keyHelp: ["this help", "本帮助"],
};

// What a layer does, in one sentence: [forward, backward], each in English and Chinese.
const SENTENCES = {
  Picture: [
    ["The network sees the middle of the picture, minus the mean of all training pictures.",
      "网络看到图片的中央，减去所有训练图片的均值。"],
    ["The gradient of the picture tells which pixels would change the loss.",
      "图片的梯度说明改变哪些像素会改变损失。"]],
  Conv2d: [
    ["A kernel is laid over a window: pixel times weight, all products added up, plus the bias.",
      "卷积核盖在窗口上：像素乘权重，把所有乘积相加，再加偏置。"],
    ["A pixel was seen by several windows: each passes back its gradient times the weight that lay on the pixel.",
      "一个像素被多个窗口看到：每个窗口把自己的梯度乘以压在该像素上的权重传回来。"]],
  MaxPool: [
    ["Of every window only the largest number goes on.", "每个窗口只有最大的数继续向前。"],
    ["The gradient goes to the winner of the window alone; a pixel may win several windows.",
      "梯度只交给窗口的胜者；一个像素可以赢得多个窗口。"]],
  AvgPool: [
    ["Of every window the mean goes on.", "每个窗口的平均值继续向前。"],
    ["Every pixel of a window gets an even share of its gradient.", "窗口中每个像素平分它的梯度。"]],
  LRN: [
    ["A number is divided by a power of the scale, from its neighbours in other channels.",
      "一个数除以尺度的幂，尺度由相邻通道算出。"],
    ["A number changes its own output, and through the energy those of its neighbours.",
      "一个数改变自己的输出，也通过能量改变邻居的输出。"]],
  LRNWithin: [
    ["A number is divided by a power of the scale, from the pixels around it in its own map.",
      "一个数除以尺度的幂，尺度由同一张图中周围的像素算出。"],
    ["A number changes its own output, and through the energy those around it.",
      "一个数改变自己的输出，也通过能量改变周围的输出。"]],
  ReLU: [
    ["What is negative becomes 0, what is positive stays.", "负数变成 0，正数不变。"],
    ["The gradient passes where the output was positive, and stops where it was 0.",
      "输出为正处梯度通过，为 0 处梯度停止。"]],
  LeakyReLU: [
    ["What is negative becomes small, what is positive stays.", "负数变小，正数不变。"],
    ["The gradient passes where x was positive, and is small elsewhere.", "x 为正处梯度通过，其他地方变小。"]],
  Tanh: [["The number is squeezed to between -1 and 1.", "数被压到 -1 与 1 之间。"],
    ["The gradient is multiplied by the slope, which is small far from 0.", "梯度乘以斜率；远离 0 处斜率很小。"]],
  Sigmoid: [["The number is squeezed to between 0 and 1.", "数被压到 0 与 1 之间。"],
    ["The gradient is multiplied by the slope, which is at most 1/4.", "梯度乘以斜率，斜率最多 1/4。"]],
  Dropout: [
    ["In training units are dropped at random; in evaluation every unit is used, times a constant.",
      "训练时随机丢弃单元；评估时使用所有单元，再乘以一个常数。"],
    ["The gradient passes where the unit was kept.", "被保留的单元处梯度通过。"]],
  Flatten: [["Maps end, units begin: the same numbers in one row.", "特征图结束，单元开始：同样的数排成一行。"],
    ["The gradients go back to their places in the maps.", "梯度回到特征图中的位置。"]],
  Linear: [
    ["A unit weighs every input: input times weight, all products added up, plus the bias.",
      "一个单元衡量所有输入：输入乘权重，把所有乘积相加，再加偏置。"],
    ["Every unit has used this input: each passes back its gradient times its weight.",
      "每个单元都用到这个输入：各自把梯度乘以权重传回来。"]],
  Layer: [["Nothing changes.", "什么都不变。"], ["Nothing changes.", "什么都不变。"]],
  SoftmaxCrossEntropy: [
    ["Scores become probabilities; the loss is minus the logarithm of the right class's probability.",
      "得分变成概率；损失是正确类别概率的负对数。"],
    ["The gradient of a score is its probability, minus 1 for the right class.",
      "得分的梯度是它的概率；正确类别再减 1。"]],
  dw: [["", ""], ["A weight met one number in every window, or one input: each time its gradient is dy times that number.",
    "一个权重在每个窗口遇到一个数，或遇到一个输入：每次的梯度是 dy 乘以那个数。"]],
  db: [["", ""], ["A bias was added to every number of its map or unit: its gradient is the sum of their dy.",
    "偏置加在它的图或单元的每个数上：它的梯度是这些 dy 之和。"]],
  update: [
    ["The step of SGD: a part of the velocity, minus decay, minus the rate times the gradient.",
      "SGD 的一步：速度的一部分，减去衰减，再减去学习率乘梯度。"], ["", ""]],
};

const BUGS = {
  "kernel-turned": ["conv: kernel turned round in forward", "卷积：前向时核被旋转"],
  "dw-turned": ["conv: dw turned round", "卷积：dw 被旋转"],
  "wrong-group": ["conv: channels of the wrong group", "卷积：用错分组的通道"],
  "col2im-overwrites": ["conv: = for += in col2im", "卷积：col2im 中 += 写成 ="],
  "db-of-one-pixel": ["conv: db of one pixel only", "卷积：db 只取一个像素"],
  "pool-overwrites": ["pool: = for += in backward", "池化：反向中 += 写成 ="],
  "pool-to-all": ["pool: gradient to every pixel", "池化：梯度给了每个像素"],
  "lrn-no-cross-term": ["LRN: no cross term in backward", "LRN：反向缺少交叉项"],
  "lrn-small-window": ["LRN: window of n - 2", "LRN：窗口只有 n - 2"],
  "relu-gate-on-dy": ["ReLU: gate on dy", "ReLU：用 dy 当门"],
  "linear-bias-forgotten": ["linear: bias forgotten", "全连接：忘了偏置"],
  "dropout-no-mask": ["dropout: no mask in backward", "dropout：反向没有掩码"],
  "softmax-no-label": ["softmax: gradient without the label", "softmax：梯度没用标签"],
  "decay-wrong-sign": ["SGD: decay with the wrong sign", "SGD：衰减符号错误"],
};

// How explain() says things, in Chinese: applied one after the other.
const CHINESE = [
  [/^kernel (\d+) over (.*?) of x\[(\d+)\]/, "卷积核 $1 盖在 x[$3] 的$2 上"],
  [/; (\d+) of its (\d+) pixels lie past the edge and are 0/, "；$2 个像素中有 $1 个在边缘之外，算作 0"],
  [/^(w\[.*?\]) met channel (\d+) of x in every one of (\d+) x (\d+) windows( of (\d+) pictures)?/,
    "$1 在 $3 x $4 个窗口里各遇到 x 的通道 $2 一次"],
  [/^(b\[.*?\]) was added to every activation of map (\d+)/, "$1 加到了特征图 $2 的每个激活值上"],
  [/^(\d+) x (\d+) windows saw this pixel, each of them with (.*)/, "$1 x $2 个窗口看到这个像素，每个窗口都用了$3"],
  [/^no window saw this pixel/, "没有窗口看到这个像素"],
  [/^the unit is kept, its mask is (.*)/, "这个单元被保留，掩码是 $1"],
  [/^the unit is dropped, its mask is (.*)/, "这个单元失活，掩码是 $1"],
  [/^evaluation: inverted dropout changes nothing/, "评估：inverted dropout 不改变任何数"],
  [/^evaluation: every unit is used, times keep = (\S+)/, "评估：使用所有单元，乘以 keep = $1"],
  [/^the same number as (.*)/, "与 $1 是同一个数"],
  [/^unit (\d+) has a weight for all ([\d,]+) inputs of (.*)/, "单元 $1 对 $3 的全部 $2 个输入加权"],
  [/^all ([\d,]+) units use this input/, "全部 $1 个单元都用到了这个输入"],
  [/^(w\[.*?\]) times input (\d+), once for each picture/, "$1 在每张图片里遇到输入 $2 一次"],
  [/^(b\[.*?\]) was added once for each picture/, "$1 在每张图片里加了一次"],
  [/^x = (\S+) is divided by a power of the scale of (\d+) neighbours, itself included/,
    "x = $1 除以尺度的幂，尺度由 $2 个邻居（包括它自己）算出"],
  [/^what x did to its own y, minus what it did to the (\d+) y whose energy it is part of/,
    "x 对它自己的 y 的影响，减去它通过能量对 $1 个 y 的影响"],
  [/; (\d+) are equally large, the first in reading order wins/, "；$1 个一样大，按阅读顺序第一个胜出"],
  [/^windows that contain this pixel: (\d+), of which it won (\d+)/, "含有这个像素的窗口有 $1 个，它在其中 $2 个里是最大的"],
  [/^windows that contain this pixel: (\d+), each gives it an even share/, "含有这个像素的 $1 个窗口各平分一份给它"],
  [/^the probability of each picture's own class/, "每张图片自己那一类的概率"],
  [/^class (\d+) of picture (\d+), whose label is (\d+)/, "图片 $2 的类别 $1，它的标签是 $3"],
  [/^the probability of class (\d+) minus the truth: picture (\d+) has label (\d+)/,
    "类别 $1 的概率减去真实值：图片 $2 的标签是 $3"],
  [/^one step of SGD moves (.*?) by (.*)/, "SGD 的一步让 $1 改变 $2"],
  [/^(.*?) is frozen: its rate is 0/, "$1 被冻结：学习率为 0"],
  [/^dy times the slope of (\w+) at x = (.*)/, "dy 乘以 $1 在 x = $2 处的斜率"],
  [/^(\w+) of x = (.*)/, "x = $2 处的 $1"],
  [/^sum of ([\d,]+) products?/, "$1 个乘积之和"],
  [/^sum of ([\d,]+) gradients?/, "$1 个梯度之和"],
  [/^sum of ([\d,]+) pixels?/, "$1 个像素之和"],
  [/^sum of ([\d,]+) loss(?:es)?/, "$1 个损失之和"],
  [/^sum of ([\d,]+) exps?/, "$1 个指数之和"],
  [/^sum of dy\*y\/scale/, "dy*y/scale 之和"],
  [/^divided by (\d+), the size of the batch/, "除以批量大小 $1"],
  [/^divided by (\d+)/, "除以 $1"],
  [/^bias (b\[.*)/, "偏置 $1"],
  [/^y = sum \+ bias/, "y = 和 + 偏置"],
  [/^largest, at row (\d+), column (\d+)/, "最大的数，在行 $1、列 $2"],
  [/^energy = sum of x\^2/, "能量 = x^2 之和"],
  [/^scale = (\S+) \+ (\S+) \* energy/, "scale = $1 + $2 * 能量"],
  [/^y = x \* that/, "y = x * 上面的数"],
  [/^own = (.*)/, "自己的 = $1"],
  [/^others = (.*) \* sum/, "邻居的 = $1 * 和"],
  [/^dx = own - others/, "dx = 自己的 - 邻居的"],
  [/^exp of class (\d+)/, "类别 $1 的指数"],
  [/^p = exp \/ sum/, "p = 指数 / 和"],
  [/^p - truth/, "p - 真实值"],
  [/^momentum: (.*)/, "动量：$1"],
  [/^decay: (.*)/, "衰减：$1"],
  [/^gradient: (.*)/, "梯度：$1"],
  [/^new v = their sum/, "新的 v = 它们的和"],
  [/^new (\w) = (.*?) \+ new v/, "新的 $1 = $2 + 新的 v"],
  [/^new (\w) = (\w)/, "新的 $1 = $2"],
  [/^pixel$/, "像素"],
  [/^mean of the training set/, "训练集均值"],
  [/^x = pixel - mean/, "x = 像素 - 均值"],
  [/^all other terms together/, "其余各项之和"],
  [/channels? (\d+)( to (\d+))?/g, "通道 $1 至 $3"],
  [/rows? (-?\d+)( to (-?\d+))?/g, "行 $1 至 $3"],
  [/columns? (-?\d+)( to (-?\d+))?/g, "列 $1 至 $3"],
  [/kernels? (\d+)( to (\d+))?/g, "卷积核 $1 至 $3"],
  [/ 至 (?=[^-\d]|$)/g, ""],
  [/\bscale\b/g, "尺度"],
  [/\bslope\b/g, "斜率"],
  [/\bmask\b/g, "掩码"],
  [/^(.*) of x\[(\d+)(, (\d+))?\]/, "x[$2$3] 的$1"],
  [/, (?=通道|行|列)/g, "、"],
];

const AXES = { channel: "通道", row: "行", column: "列", image: "图片", kernel: "卷积核", input: "输入",
  unit: "单元", class: "类别", i: "i", j: "j" };
const COLUMNS = { product: "乘积", won: "赢得", share: "份额", slope: "斜率", mask: "掩码", factor: "系数",
  label: "标签", truth: "真实值", "exp(logit - largest)": "exp(logit - 最大值)",
  "p - truth": "p - 真实值" };

let language = 0; // 0 English, 1 Chinese

export function speak(code) {
  language = code === "zh" ? 1 : 0;
  document.documentElement.lang = language ? "zh-CN" : "en";
}

export function t(key, ...values) {
  return LABELS[key][language].replace(/\{(\d)\}/g, (_, i) => values[i]);
}

export function sentence(kind, backward) {
  return (SENTENCES[kind] || SENTENCES.Layer)[backward ? 1 : 0][language];
}

export function bugName(bug) {
  return BUGS[bug][language];
}

// A text of explain(): a sentence, the text of a line, the name of an axis or of a column.
export function said(text) {
  if (!language) return text;
  if (AXES[text]) return AXES[text];
  if (COLUMNS[text]) return COLUMNS[text];
  return CHINESE.reduce((text, [pattern, chinese]) => text.replace(pattern, (match, ...groups) =>
    chinese.replace(/\$(\d)/g, (_, i) => groups[i - 1] ?? "")), text);
}
