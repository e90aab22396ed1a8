// Colours told apart by people with any colour vision (Okabe, Ito: Color Universal Design, 2008).

const PALETTE = ["#f0e442", "#56b4e9", "#e69f00", "#cc79a7", "#009e73", "#d55e00", "#0072b2"];

export function colourOf(number) {
  return PALETTE[(number - 1) % PALETTE.length];
}
