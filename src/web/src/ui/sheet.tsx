import * as Dialog from "@radix-ui/react-dialog";
import { X } from "lucide-react";
import type { ReactNode } from "react";
import { useI18n } from "@/i18n";
import { Button } from "./button";

interface Props {
  title: string;
  onClose(): void;
  children: ReactNode;
  footer?: ReactNode;
}

/**
 * One task over the page: the whole screen on a phone, a dialog on a wide one. The backdrop is a plain
 * element, not Radix's own: that one injects a style element, which the content security policy refuses.
 */
export function Sheet({ title, onClose, children, footer }: Props) {
  const { t } = useI18n();
  return (
    <Dialog.Root open onOpenChange={(open) => !open && onClose()}>
      <Dialog.Portal>
        <div aria-hidden className="fade-in fixed inset-0 z-40 bg-overlay" />
        <Dialog.Content
          aria-describedby={undefined}
          className="sheet-in fixed inset-0 z-50 mx-auto flex flex-col bg-paper focus:outline-none sm:inset-y-[8vh] sm:bottom-auto sm:max-h-[84vh] sm:w-full sm:max-w-md sm:overflow-hidden sm:rounded-xl sm:border sm:border-line sm:shadow-raised"
        >
          <header className="flex h-(--header-height) shrink-0 items-center gap-2 border-b border-line ps-4 pe-2">
            <Dialog.Title className="min-w-0 flex-1 truncate text-base font-semibold">{title}</Dialog.Title>
            <Dialog.Close asChild>
              <Button variant="quiet" size="icon" aria-label={t("common.close")}>
                <X aria-hidden className="size-5" />
              </Button>
            </Dialog.Close>
          </header>
          <div className="min-h-0 flex-1 overflow-y-auto overscroll-contain px-4 py-5">{children}</div>
          {footer ? <footer className="shrink-0 border-t border-line bg-paper px-4 pt-3 pb-[calc(0.75rem+var(--safe-bottom))]">{footer}</footer> : null}
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
