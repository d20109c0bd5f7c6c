import { Slot } from "@radix-ui/react-slot";
import { cva, type VariantProps } from "class-variance-authority";
import type { ComponentProps } from "react";
import { cn } from "@/lib/cn";

const button = cva(
  "inline-flex shrink-0 items-center justify-center gap-2 rounded-lg font-medium whitespace-nowrap transition-colors duration-(--motion) select-none disabled:opacity-50 aria-disabled:opacity-50 [&_svg]:shrink-0",
  {
    variants: {
      variant: {
        primary: "bg-accent text-on-accent hover:not-disabled:bg-accent-hover",
        secondary: "border border-line bg-surface text-ink hover:not-disabled:bg-sunken",
        quiet: "text-ink hover:not-disabled:bg-sunken",
        danger: "border border-line bg-surface text-negative hover:not-disabled:bg-negative-soft",
        link: "text-accent underline-offset-4 hover:underline",
      },
      size: {
        md: "min-h-(--tap) px-4 text-sm",
        lg: "min-h-12 px-5 text-base",
        icon: "size-(--tap)",
      },
    },
    defaultVariants: { variant: "primary", size: "md" },
  },
);

type Props = ComponentProps<"button"> & VariantProps<typeof button> & { asChild?: boolean };

export function Button({ className, variant, size, asChild, type = "button", ...props }: Props) {
  const Component = asChild ? Slot : "button";
  return <Component className={cn(button({ variant, size }), className)} {...(asChild ? {} : { type })} {...props} />;
}
