import { Fragment } from "react";

const LINK = /(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}'])/g;

/** Plain text whose web addresses can be followed. */
export function LinkedText({ text }: { text: string }) {
  return text.split(LINK).map((part, index) =>
    index % 2 === 1 ? (
      // oxlint-disable-next-line react/no-array-index-key -- the parts of one text never move
      <a key={index} href={part} target="_blank" rel="noopener noreferrer" className="text-accent underline underline-offset-2">
        {part}
      </a>
    ) : (
      // oxlint-disable-next-line react/no-array-index-key -- the parts of one text never move
      <Fragment key={index}>{part}</Fragment>
    ),
  );
}
